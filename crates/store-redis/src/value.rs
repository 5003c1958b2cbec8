//! Reading what servers answer.

use redis::Value;

use crate::error::RedisStoreError;

pub(crate) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => &[],
    }
}

pub(crate) fn text(value: &Value) -> String {
    String::from_utf8_lossy(bytes(value)).into_owned()
}

pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other).parse().ok(),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        _ => &[],
    }
}

/// What stands beside a name in a flat list of names and values.
pub(crate) fn map(value: &Value, name: &str) -> Option<String> {
    let pairs = list(value).chunks_exact(2);
    let mut found = pairs.filter(|pair| text(&pair[0]) == name);
    found.next().map(|pair| text(&pair[1]))
}

/// The one answer to one command.
pub(crate) fn only(answers: Vec<Value>) -> Result<Value, RedisStoreError> {
    let mut answers = answers.into_iter();
    answers
        .next()
        .ok_or(RedisStoreError::Malformed("an answer without a value"))
}
