//! The steps of the demo. Each prints what it does, the response, and whether it was as expected.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::Method;
use futures_util::future::join_all;
use tower_revoke::{Clock, Lift, RecordFilter, core::BoxError};

use crate::{
    Scene,
    api::LOGGED_OUT,
    client::{Answer, Caller},
};

/// Runs all steps, and returns whether every result was as expected.
pub(crate) async fn tell(scene: &Scene) -> Result<bool, BoxError> {
    let mut story = Story {
        scene,
        client: Caller::new(),
        calls: AtomicU32::new(0),
        broken: 0,
    };
    println!(
        "An issuer on {}, an API on {}.",
        scene.issuer.url(),
        scene.api_at
    );
    story.checked().await?;
    story.single_use().await?;
    story.after_response().await?;
    story.one_winner().await?;
    story.handed_on().await?;
    let laptop = story.ended_by_hand().await?;
    story.looked_into(&laptop).await?;
    story.counted();
    match story.broken {
        0 => println!("\nAll was as promised."),
        broken => println!("\n{broken} promises were broken."),
    }
    Ok(story.broken == 0)
}

struct Story<'a> {
    scene: &'a Scene,
    client: Caller,
    calls: AtomicU32,
    broken: u32,
}

const INVALID: &str = "error=\"invalid_token\"";

impl Story<'_> {
    async fn checked(&mut self) -> Result<(), BoxError> {
        println!("\n1. A token is checked.");
        let none = self.get("/orders", None).await?;
        self.promise(
            "no token: 401 and a challenge without an error code",
            &none,
            |answer| answer.status == 401 && answer.challenge == "Bearer realm=\"api\"",
        );
        let token = self.token();
        let forged = format!("{}AAAA", &token[..token.len() - 4]);
        let bad = self.get("/orders", Some(&forged)).await?;
        self.promise("a forged signature: 401 invalid_token", &bad, is_invalid);
        for _ in 0..2 {
            let good = self.get("/orders", Some(&token)).await?;
            self.promise("a good one: 200, again and again", &good, |answer| {
                answer.status == 200 && answer.body == "orders of ann"
            });
        }
        Ok(())
    }

    async fn single_use(&mut self) -> Result<(), BoxError> {
        println!("\n2. A route that costs the token.");
        let token = self.token();
        let first = self.get("/invoice", Some(&token)).await?;
        self.promise("the first call: 200", &first, |answer| answer.status == 200);
        let second = self.get("/invoice", Some(&token)).await?;
        self.promise("the second: 401 invalid_token", &second, is_invalid);
        let elsewhere = self.get("/orders", Some(&token)).await?;
        self.promise("and so on every other route", &elsewhere, is_invalid);
        Ok(())
    }

    async fn after_response(&mut self) -> Result<(), BoxError> {
        println!("\n3. A streamed response, whose last byte waits for the token's end, 100 times.");
        let mut whole = 0;
        let mut dead = 0;
        for _ in 0..100 {
            let token = self.token();
            let report = self.get("/report", Some(&token)).await?;
            whole += u32::from(report.body == "a report in three pieces");
            let again = self.get("/report", Some(&token)).await?;
            dead += u32::from(is_invalid(&again));
        }
        self.verdict(
            &format!("{whole} whole responses, {dead} tokens dead right after them"),
            (whole, dead) == (100, 100),
        );
        Ok(())
    }

    async fn one_winner(&mut self) -> Result<(), BoxError> {
        println!("\n4. 50 calls at once with one single-use token.");
        let token = self.token();
        let calls = (0..50).map(|_| self.get("/invoice", Some(&token)));
        let answers = join_all(calls)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let won = answers.iter().filter(|answer| answer.status == 200).count();
        let rejected = answers.iter().filter(|answer| is_invalid(answer)).count();
        self.verdict(
            &format!("{won} got 200, {rejected} got 401 invalid_token"),
            (won, rejected) == (1, 49),
        );
        Ok(())
    }

    async fn handed_on(&mut self) -> Result<(), BoxError> {
        println!("\n5. The header, as upstream servers see it.");
        let token = self.token();
        let named = self.get("/upstream/named", Some(&token)).await?;
        self.verdict(
            &format!("the one that was named: {}", shortened(&named.body)),
            named.body == format!("Bearer {token}"),
        );
        let other = self.get("/upstream/other", Some(&token)).await?;
        self.verdict(
            &format!("any other: {}", shortened(&other.body)),
            other.body == "none",
        );
        Ok(())
    }

    /// Logs ann out everywhere, and returns the revoked token of ann's laptop.
    async fn ended_by_hand(&mut self) -> Result<String, BoxError> {
        println!("\n6. Log out everywhere.");
        let [phone, laptop] = [self.token(), self.token()];
        let bob = self
            .scene
            .issuer
            .token()
            .subject("bob")
            .audience("orders")
            .sign();
        let logout = self.call(Method::POST, "/logout", Some(&phone)).await?;
        self.promise("ann logs out on her phone", &logout, |answer| {
            answer.status == 200
        });
        let rejected = self.get("/orders", Some(&laptop)).await?;
        self.promise(
            "her laptop's token: 401 invalid_token",
            &rejected,
            is_invalid,
        );
        let good = self.get("/orders", Some(&bob)).await?;
        self.promise("bob's: 200", &good, |answer| answer.status == 200);
        Ok(laptop)
    }

    async fn looked_into(&mut self, laptop: &str) -> Result<(), BoxError> {
        println!("\n7. An operator asks who was logged out, and lifts it.");
        let list = &self.scene.list;
        let logouts = RecordFilter::all().because(LOGGED_OUT);
        let records = list.records(logouts).next_page().await?.unwrap_or_default();
        let found = records.len() == 1 && records[0].by == "ann";
        if let Some(key) = records.into_iter().find_map(|record| record.key) {
            println!("          {key:?}");
            let lift = Lift::new(key)
                .at(Clock::system().now())
                .by("an operator")
                .because("she was on the phone");
            list.lift(lift).await?;
        }
        self.verdict("one logout is in the store, said by ann", found);
        let good = self.get("/orders", Some(laptop)).await?;
        self.promise("her laptop's token: 200", &good, |answer| {
            answer.status == 200
        });
        Ok(())
    }

    fn counted(&mut self) {
        println!("\n8. What was counted, by verified client.");
        let snapshot = self.scene.monitor.snapshot();
        let Some(api) = snapshot.services.get("api") else {
            return self.verdict("no service was counted", false);
        };
        println!("          client        calls  success  rejected  in flight   average");
        let clients = api.clients.iter().map(|(name, counts)| (&**name, counts));
        for (name, counts) in clients.chain([("(anonymous)", &api.anonymous)]) {
            println!(
                "          {name:<12} {:>6} {:>8} {:>8} {:>10} {:>9.0?}",
                counts.calls(),
                counts.success,
                counts.rejected,
                counts.in_flight,
                counts.latency.avg().unwrap_or_default(),
            );
        }
        let calls = u64::from(self.calls.load(Ordering::Relaxed));
        self.verdict(
            &format!("{calls} calls were made, {} counted", api.total.calls()),
            api.total.calls() == calls && api.total.in_flight == 0,
        );
        self.verdict(
            "bob called once; nobody is known by a token that was not verified",
            api.clients.len() == 2 && api.clients.get("bob").is_some_and(|bob| bob.success == 1),
        );
    }

    fn token(&self) -> String {
        self.scene
            .issuer
            .token()
            .subject("ann")
            .audience("orders")
            .sign()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Result<Answer, BoxError> {
        self.call(Method::GET, path, token).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> Result<Answer, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.client
            .call(method, self.scene.api_at, path, token)
            .await
    }

    fn promise(&mut self, promise: &str, answer: &Answer, kept: impl Fn(&Answer) -> bool) {
        let kept = kept(answer);
        self.verdict(promise, kept);
        println!("         {} {}", answer.status, answer.challenge);
        if !kept {
            println!("         {}", answer.body);
        }
    }

    fn verdict(&mut self, what: &str, kept: bool) {
        println!("   {} {what}", if kept { "ok    " } else { "BROKEN" });
        self.broken += u32::from(!kept);
    }
}

fn is_invalid(answer: &Answer) -> bool {
    answer.status == 401 && answer.challenge.contains(INVALID)
}

fn shortened(text: &str) -> String {
    match text.get(..20) {
        Some(start) => format!("{start}…"),
        None => text.to_owned(),
    }
}
