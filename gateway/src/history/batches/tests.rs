//! The table of batches on both databases: who holds what, which result stands, how it ends.

use std::time::Duration;

use super::*;
use crate::history::cipher::tests::pepper;
use crate::history::{Files, Removal};
use crate::ledger::sample::noon;
use crate::ledger::testing::{Fresh, on_both};

const LEASE: Duration = Duration::from_secs(30);

fn batches(fresh: &Fresh) -> Batches {
    Batches::new(
        fresh.store.clone(),
        &pepper("ab"),
        &BatchSettings::default(),
    )
}

fn new(organisation: &str) -> NewBatch {
    NewBatch {
        organisation: organisation.into(),
        key: KeyId::new(),
        endpoint: "/v1/chat/completions".into(),
        input_file: "file-1".into(),
        completion: "24h".into(),
        window: Duration::from_secs(24 * 3600),
        metadata: Some([("run".to_owned(), "7".to_owned())].into()),
        headers: vec![("x-tollgate-tags".into(), "eu".into())],
        output_lifetime: Some(Duration::from_secs(3600)),
    }
}

fn after(seconds: i64) -> Timestamp {
    noon() + jiff::SignedDuration::from_secs(seconds)
}

fn result(number: u32, failed: bool) -> LineResult {
    LineResult {
        number,
        failed,
        usage: BatchUsage {
            input: 10,
            cached: 4,
            output: 3,
            reasoning: 1,
        },
        line: format!("{{\"n\":{number}}}").into_bytes(),
    }
}

#[test]
fn a_batch_walks_from_its_making_to_its_end() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        let acme = OrganisationName::from("acme");
        let made = batches.create(new("acme"), noon()).await.expect("create");
        assert_eq!(
            batches.get(&acme, &made.id).await.expect("get").as_ref(),
            Some(&made)
        );
        let (hold, claimed) = batches
            .claim(LEASE, noon())
            .await
            .expect("claim")
            .expect("one");
        assert_eq!(claimed, made);
        batches.begin(&hold, 3, after(1)).await.expect("begin");
        for (number, failed) in [(1, false), (3, true), (2, false)] {
            let first = batches.record(&made.id, &result(number, failed)).await;
            assert!(first.expect("record"));
        }
        let batch = batches
            .get(&acme, &made.id)
            .await
            .expect("get")
            .expect("there");
        assert_eq!(batch.status, Status::InProgress);
        let counts = BatchCounts {
            total: 3,
            completed: 2,
            failed: 1,
        };
        let usage = BatchUsage {
            input: 30,
            cached: 12,
            output: 9,
            reasoning: 3,
        };
        assert_eq!((batch.counts, batch.usage), (counts, usage));

        batches.finalize(&hold, after(2)).await.expect("finalize");
        let lines = batches
            .results(&made.id, false, 1, 9)
            .await
            .expect("results");
        assert_eq!(lines, [(2, b"{\"n\":2}".to_vec())]);
        let ending = Ending {
            status: Status::Completed,
            counts,
            usage,
            output_file: Some("file-2".into()),
            error_file: None,
        };
        batches.end(&hold, &ending, after(3)).await.expect("end");
        let batch = batches
            .get(&acme, &made.id)
            .await
            .expect("get")
            .expect("there");
        assert_eq!(batch.status, Status::Completed);
        assert_eq!((batch.counts, batch.usage), (counts, usage));
        assert_eq!(batch.ended, Some(after(3)));
        assert_eq!(batch.output_file.as_deref(), Some("file-2"));
        assert!(batches.done(&made.id).await.expect("done").is_empty());
        assert!(
            batches
                .claim(LEASE, after(99))
                .await
                .expect("claim")
                .is_none()
        );
        let month = 30 * 24 * 3600;
        assert_eq!(batches.purge(after(month)).await.expect("purge"), 0);
        assert_eq!(batches.purge(after(month + 3)).await.expect("purge"), 1);
    });
}

#[test]
fn a_first_result_stands_and_lies_sealed() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        let made = batches.create(new("acme"), noon()).await.expect("create");
        assert!(
            batches
                .record(&made.id, &result(1, false))
                .await
                .expect("record")
        );
        assert!(
            !batches
                .record(&made.id, &result(1, true))
                .await
                .expect("record")
        );
        let lines = batches
            .results(&made.id, false, 0, 9)
            .await
            .expect("results");
        assert_eq!(lines.len(), 1);
        let (sealed,): (Vec<u8>,) = sqlx::query_as("SELECT sealed FROM batch_result")
            .fetch_one(fresh.store.pool())
            .await
            .expect("a row");
        assert!(memchr::memmem::find(&sealed, b"\"n\"").is_none());
    });
}

#[test]
fn a_hold_lasts_while_it_is_renewed_and_whoever_lost_it_writes_no_more() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        batches.create(new("acme"), noon()).await.expect("create");
        let (first, _) = batches
            .claim(LEASE, noon())
            .await
            .expect("claim")
            .expect("one");
        assert!(
            batches
                .claim(LEASE, after(29))
                .await
                .expect("claim")
                .is_none()
        );
        let status = batches
            .renew(&first, LEASE, after(29))
            .await
            .expect("renew");
        assert_eq!(status, Some(Status::Validating));
        assert!(
            batches
                .claim(LEASE, after(58))
                .await
                .expect("claim")
                .is_none()
        );
        let (second, _) = batches
            .claim(LEASE, after(60))
            .await
            .expect("claim")
            .expect("free");
        assert_eq!(
            batches
                .renew(&first, LEASE, after(60))
                .await
                .expect("renew"),
            None
        );
        let late = batches.begin(&first, 1, after(60)).await;
        assert!(matches!(late, Err(HistoryError::NotHeld(_))));
        batches.release(&first).await.expect("release");
        assert!(
            batches
                .claim(LEASE, after(61))
                .await
                .expect("claim")
                .is_none()
        );
        batches.release(&second).await.expect("release");
        assert!(
            batches
                .claim(LEASE, after(61))
                .await
                .expect("claim")
                .is_some()
        );
    });
}

#[test]
fn of_many_who_claim_at_once_each_batch_has_one_holder() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        for _ in 0..3 {
            batches.create(new("acme"), noon()).await.expect("create");
        }
        let claims = (0..8).map(|_| batches.claim(LEASE, noon()));
        let claims = futures_util::future::join_all(claims).await;
        let mut held: Vec<String> = claims
            .into_iter()
            .filter_map(|claim| claim.expect("claim"))
            .map(|(hold, _)| hold.batch)
            .collect();
        // Who came second to a row may have gone away with nothing: they come again.
        while let Some((hold, _)) = batches.claim(LEASE, noon()).await.expect("claim") {
            held.push(hold.batch);
        }
        held.sort();
        assert_eq!(held.len(), 3);
        held.dedup();
        assert_eq!(held.len(), 3);
    });
}

#[test]
fn an_organisation_with_many_batches_does_not_keep_others_waiting() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        for _ in 0..3 {
            batches.create(new("acme"), noon()).await.expect("create");
        }
        batches
            .create(new("other"), after(9))
            .await
            .expect("create");
        let mut order = Vec::new();
        while let Some((_, batch)) = batches.claim(LEASE, after(10)).await.expect("claim") {
            order.push(batch.organisation.to_string());
        }
        assert_eq!(order, ["acme", "other", "acme", "acme"]);
    });
}

#[test]
fn a_cancelled_batch_says_so_to_its_holder_and_one_that_ended_cannot_be_cancelled() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        let (acme, other) = (
            OrganisationName::from("acme"),
            OrganisationName::from("other"),
        );
        let made = batches.create(new("acme"), noon()).await.expect("create");
        let (hold, _) = batches
            .claim(LEASE, noon())
            .await
            .expect("claim")
            .expect("one");
        assert!(
            batches
                .cancel(&other, &made.id, after(1))
                .await
                .expect("cancel")
                .is_none()
        );
        let batch = batches
            .cancel(&acme, &made.id, after(1))
            .await
            .expect("cancel");
        let batch = batch.expect("there");
        assert_eq!(
            (batch.status, batch.cancelling),
            (Status::Cancelling, Some(after(1)))
        );
        let status = batches.renew(&hold, LEASE, after(2)).await.expect("renew");
        assert_eq!(status, Some(Status::Cancelling));
        batches.begin(&hold, 5, after(2)).await.expect("begin");
        batches.finalize(&hold, after(2)).await.expect("finalize");
        let batch = batches
            .get(&acme, &made.id)
            .await
            .expect("get")
            .expect("there");
        assert_eq!((batch.status, batch.counts.total), (Status::Cancelling, 5));
        let fault = Fault {
            code: "x".into(),
            line: Some(1),
            message: "wrong".into(),
            param: None,
        };
        batches
            .reject(&hold, std::slice::from_ref(&fault), after(3))
            .await
            .expect("reject");
        let batch = batches
            .cancel(&acme, &made.id, after(4))
            .await
            .expect("cancel");
        let batch = batch.expect("there");
        assert_eq!((batch.status, batch.faults), (Status::Failed, vec![fault]));
    });
}

#[test]
fn others_see_no_batch_and_lists_go_page_by_page() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        let (acme, other) = (
            OrganisationName::from("acme"),
            OrganisationName::from("other"),
        );
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(
                batches
                    .create(new("acme"), noon())
                    .await
                    .expect("create")
                    .id,
            );
        }
        ids.reverse();
        let list = async |organisation: &OrganisationName, after: Option<&str>| {
            let list = batches.list(organisation, after, 2).await.expect("list");
            list.into_iter().map(|batch| batch.id).collect::<Vec<_>>()
        };
        assert_eq!(list(&acme, None).await, ids[..2]);
        assert_eq!(list(&acme, Some(&ids[1])).await, ids[2..]);
        assert_eq!(list(&other, None).await, Vec::<String>::new());
        assert!(batches.get(&other, &ids[0]).await.expect("get").is_none());
    });
}

#[test]
fn a_file_that_an_open_batch_reads_stays() {
    on_both(async |fresh: &Fresh| {
        let batches = batches(fresh);
        let files = Files::new(
            fresh.store.clone(),
            &pepper("ab"),
            &BatchSettings::default(),
        );
        let acme = OrganisationName::from("acme");
        let arriving = files.begin(&acme, noon()).await.expect("begin");
        let file = arriving
            .finish("a", "batch", None, noon())
            .await
            .expect("finish");
        let mut of_it = new("acme");
        of_it.input_file.clone_from(&file.id);
        batches.create(of_it, noon()).await.expect("create");
        let removal = files.delete(&acme, &file.id, noon()).await.expect("delete");
        assert_eq!(removal, Removal::InUse);
        assert_eq!(files.purge(Timestamp::MAX).await.expect("purge"), 0);
        let (hold, _) = batches
            .claim(LEASE, noon())
            .await
            .expect("claim")
            .expect("one");
        batches.reject(&hold, &[], noon()).await.expect("reject");
        let removal = files.delete(&acme, &file.id, noon()).await.expect("delete");
        assert_eq!(removal, Removal::Removed);
    });
}

#[tokio::test]
async fn an_organisation_has_only_so_many_open_batches() {
    let fresh = Fresh::sqlite().await;
    let settings = BatchSettings {
        open: 1,
        ..BatchSettings::default()
    };
    let batches = Batches::new(fresh.store.clone(), &pepper("ab"), &settings);
    batches.create(new("acme"), noon()).await.expect("create");
    let error = batches
        .create(new("acme"), noon())
        .await
        .expect_err("too many");
    assert!(matches!(error, HistoryError::TooManyBatches(1)));
    batches.create(new("other"), noon()).await.expect("create");
}
