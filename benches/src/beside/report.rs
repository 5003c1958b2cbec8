//! The table of results, and the targets.

use super::Figures;
use crate::rounds::{Contender, Kind, median};

/// The results of one contender, relative to others of its table.
pub struct Row {
    pub name: String,
    pub kind: Kind,
    /// Per request, above the bare router.
    pub added: f64,
    /// `added`, divided by that of the best peer.
    pub ratio: f64,
    /// Per request, above the bare router.
    pub allocations: f64,
    pub bytes: f64,
}

/// A named table of rows.
pub struct Table {
    pub title: String,
    pub rows: Vec<Row>,
}

impl Table {
    pub fn new(title: String, contenders: &[&Contender], figures: &[&Figures]) -> Self {
        let all = || contenders.iter().copied().zip(figures.iter().copied());
        let bare = |contender: &Contender| {
            let is_its_bare = |other: &Contender| {
                other.kind == Kind::Bare && other.is_axum07 == contender.is_axum07
            };
            let found = all().find(|(other, _)| is_its_bare(other));
            found.expect("each axum is measured bare").1
        };
        let added = |contender: &Contender, figures: &Figures| -> Vec<f64> {
            let pairs = figures.nanos.iter().zip(&bare(contender).nanos);
            pairs.map(|(own, bare)| own - bare).collect()
        };
        let best = all()
            .filter(|(contender, _)| contender.kind == Kind::Peer)
            .map(|(contender, figures)| added(contender, figures))
            .min_by(|a, b| median(a).total_cmp(&median(b)))
            .expect("one peer serves each case");
        let row = |(contender, figures): (&Contender, &Figures)| {
            let (own, bare) = (added(contender, figures), bare(contender));
            let ratios: Vec<f64> = own
                .iter()
                .zip(&best)
                .map(|(own, best)| own / best)
                .collect();
            let is_bare = contender.kind == Kind::Bare;
            let per = |figures: &Figures, amount: u64| amount as f64 / figures.counted as f64;
            let above = |of: fn(&Figures) -> u64| per(figures, of(figures)) - per(bare, of(bare));
            Row {
                name: contender.name.clone(),
                kind: contender.kind,
                added: if is_bare {
                    median(&figures.nanos)
                } else {
                    median(&own)
                },
                ratio: median(&ratios),
                allocations: above(|figures| figures.allocated.calls),
                bytes: above(|figures| figures.allocated.bytes),
            }
        };
        let rows = all().map(row).collect();
        Self { title, rows }
    }

    pub fn print(&self) {
        println!("\n{}", self.title);
        println!(
            "  {:<50}{:>10}{:>12}{:>9}{:>9}",
            "", "ns added", "of the best", "allocs", "bytes"
        );
        for row in &self.rows {
            if row.kind == Kind::Bare {
                println!("  {:<50}{:>10}", row.name, format!("({:.0})", row.added));
            } else {
                println!(
                    "  {:<50}{:>10.0}{:>12}{:>9.1}{:>9.0}",
                    row.name,
                    row.added,
                    fraction(row.ratio),
                    row.allocations,
                    row.bytes
                );
            }
        }
    }
}

/// A limit, and the result that it applies to.
pub struct Target {
    pub what: String,
    pub found: String,
    pub limit: String,
    pub is_met: bool,
    /// A stricter limit for later, and whether it is met.
    pub goal: Option<(String, bool)>,
}

impl Target {
    pub fn ratio(what: String, found: f64, limit: f64, goal: Option<f64>) -> Self {
        Self {
            what,
            found: fraction(found),
            limit: fraction(limit),
            is_met: found <= limit,
            goal: goal.map(|goal| (fraction(goal), found <= goal)),
        }
    }

    pub fn nanos(what: String, found: f64, limit: f64, goal: Option<f64>) -> Self {
        Self {
            what,
            found: format!("{found:.0} ns"),
            limit: format!("{limit:.0} ns"),
            is_met: found <= limit,
            goal: goal.map(|goal| (format!("{goal:.0} ns"), found <= goal)),
        }
    }
}

pub fn print_targets(targets: &[Target]) {
    let verdict = |is_met| if is_met { "met" } else { "MISSED" };
    println!("\nTargets (found, at most)");
    for target in targets {
        let Target {
            what,
            found,
            limit,
            is_met,
            goal,
        } = target;
        print!("  {what:<58}{found:>9}{limit:>9}  {:<7}", verdict(*is_met));
        match goal {
            Some((goal, is_met)) => println!("later {goal:>7}  {}", verdict(*is_met)),
            None => println!(),
        }
    }
}

/// Formats a ratio, as 1/n if it is less than about a third.
fn fraction(ratio: f64) -> String {
    match ratio {
        0.0..0.34 => format!("1/{:.0}", 1.0 / ratio),
        _ => format!("{ratio:.2}"),
    }
}
