//! The query string of `/usage.json`.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

use serde::{
    Deserialize,
    de::value::{Error, StrDeserializer},
};

use crate::{UsageQuery, UsageSort};

/// A parameter that can't be used.
#[derive(Debug)]
pub(super) struct BadParameter {
    name: String,
    fault: &'static str,
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the query parameter {:?} {}", self.name, self.fault)
    }
}

/// Returns an error if there are parameters.
pub(super) fn parse_none(query: &str) -> Result<(), BadParameter> {
    match form_urlencoded::parse(query.as_bytes()).next() {
        Some((name, _)) => Err(BadParameter {
            name: name.into_owned(),
            fault: "is unknown",
        }),
        None => Ok(()),
    }
}

pub(super) fn parse_usage(query: &str) -> Result<UsageQuery, BadParameter> {
    let mut parsed = UsageQuery::default();
    let mut names = BTreeSet::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let set = match &*name {
            "span" => set(&mut parsed.span, number(&value, 5..=3_600))
                .ok_or("must be a number of seconds from 5 to 3600"),
            "limit" => set(&mut parsed.limit, number(&value, 0..=1_000))
                .ok_or("must be a number from 0 to 1000"),
            "sort" => set(&mut parsed.sort, sort(&value))
                .ok_or("must be a column, such as calls, exception_ratio or name"),
            "steps" => set(&mut parsed.steps, number(&value, 0..=720))
                .ok_or("must be a number from 0 to 720"),
            "only" => set(&mut parsed.only, Some(value.into_owned())).ok_or(""),
            "q" => set(&mut parsed.q, Some(value.into_owned())).ok_or(""),
            _ => Err("is unknown"),
        };
        let fault = match (set, names.insert(name.clone())) {
            (Ok(()), true) => continue,
            (Ok(()), false) => "is there twice",
            (Err(fault), _) => fault,
        };
        let name = name.into_owned();
        return Err(BadParameter { name, fault });
    }
    Ok(parsed)
}

fn set<T>(field: &mut T, value: Option<T>) -> Option<()> {
    *field = value?;
    Some(())
}

fn number<N: FromStr + PartialOrd>(value: &str, range: RangeInclusive<N>) -> Option<N> {
    value.parse().ok().filter(|number| range.contains(number))
}

fn sort(value: &str) -> Option<UsageSort> {
    UsageSort::deserialize(StrDeserializer::<Error>::new(value)).ok()
}
