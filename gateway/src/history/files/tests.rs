//! Files on both databases: whose they are, what stands in them, and when they go.

use super::super::cipher::tests::pepper;
use super::*;
use crate::ledger::sample::noon;
use crate::ledger::testing::{Fresh, on_both};

fn files(fresh: &Fresh, settings: &BatchSettings) -> Files {
    Files::new(fresh.store.clone(), &pepper("ab"), settings)
}

fn acme() -> OrganisationName {
    OrganisationName::from("acme")
}

async fn stored(files: &Files, content: &[u8], purpose: &str) -> StoredFile {
    let mut arriving = files.begin(&acme(), noon()).await.expect("begin");
    for piece in content.chunks(300_000) {
        arriving.write(piece).await.expect("write");
    }
    let finished = arriving.finish("a.jsonl", purpose, None, noon()).await;
    finished.expect("finish")
}

async fn content(files: &Files, file: &StoredFile) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 0..file.chunks {
        all.extend(files.chunk(file, number).await.expect("a piece"));
    }
    all
}

async fn sees(files: &Files, who: &OrganisationName, id: &str, at: Timestamp) -> bool {
    files.find(who, id, at).await.expect("find").is_some()
}

fn hours(hours: i64) -> Timestamp {
    noon() + jiff::SignedDuration::from_hours(hours)
}

#[test]
fn a_file_comes_back_as_it_was_sent_and_lies_sealed() {
    on_both(async |fresh: &Fresh| {
        let files = files(fresh, &BatchSettings::default());
        let sent: Vec<u8> = b"a line of text\n"
            .iter()
            .copied()
            .cycle()
            .take(2_500_000)
            .collect();
        let file = stored(&files, &sent, "batch").await;
        assert_eq!((file.bytes, file.chunks), (2_500_000, 3));
        let found = files.find(&acme(), &file.id, noon()).await.expect("find");
        assert_eq!(found.as_ref(), Some(&file));
        assert_eq!(content(&files, &file).await, sent);
        let empty = stored(&files, b"", "batch").await;
        assert_eq!((empty.bytes, empty.chunks), (0, 0));

        let (sealed,): (Vec<u8>,) =
            sqlx::query_as("SELECT sealed FROM file_chunk WHERE number = 0")
                .fetch_one(fresh.store.pool())
                .await
                .expect("a piece");
        assert!(memchr::memmem::find(&sealed, b"line").is_none());
        // A piece in another's place is noticed.
        let swap = "UPDATE file_chunk SET number = number + 10 WHERE number = 0";
        sqlx::query(swap)
            .execute(fresh.store.pool())
            .await
            .expect("moved");
        let moved = files.chunk(&file, 10).await;
        assert!(matches!(moved, Err(HistoryError::Unreadable { .. })));
        assert!(matches!(
            files.chunk(&file, 0).await,
            Err(HistoryError::FileGone(_))
        ));
    });
}

#[test]
fn a_file_is_its_organisations_alone_and_is_not_seen_before_it_is_complete() {
    on_both(async |fresh: &Fresh| {
        let files = files(fresh, &BatchSettings::default());
        let other = OrganisationName::from("other");
        let file = stored(&files, b"x", "batch").await;
        let mut arriving = files.begin(&acme(), noon()).await.expect("begin");
        arriving.write(&[b'x'; CHUNK + 1]).await.expect("write");
        let id = arriving.id().to_owned();
        assert!(!sees(&files, &acme(), &id, noon()).await);
        assert!(!sees(&files, &other, &file.id, noon()).await);
        let page = FilePage {
            limit: 10,
            ..FilePage::default()
        };
        assert_eq!(
            files.list(&acme(), &page, noon()).await.expect("list"),
            std::slice::from_ref(&file)
        );
        assert_eq!(files.list(&other, &page, noon()).await.expect("list"), []);
        let removal = files.delete(&other, &file.id, noon()).await;
        assert_eq!(removal.expect("delete"), Removal::NotThere);
        arriving.abandon().await;
        let removal = files.delete(&acme(), &file.id, noon()).await;
        assert_eq!(removal.expect("delete"), Removal::Removed);
        let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM file_chunk")
            .fetch_one(fresh.store.pool())
            .await
            .expect("a count");
        assert_eq!(left, 0);
    });
}

#[test]
fn files_are_listed_page_by_page_in_either_order_and_by_purpose() {
    on_both(async |fresh: &Fresh| {
        let files = files(fresh, &BatchSettings::default());
        let mut ids = Vec::new();
        for purpose in ["batch", "batch_output", "batch"] {
            ids.push(stored(&files, b"x", purpose).await.id);
        }
        let list = async |after: Option<&String>, limit, ascending, purpose: Option<&str>| {
            let page = FilePage {
                after: after.cloned(),
                limit,
                ascending,
                purpose: purpose.map(str::to_owned),
            };
            let list = files.list(&acme(), &page, noon()).await.expect("list");
            list.into_iter().map(|file| file.id).collect::<Vec<_>>()
        };
        assert_eq!(list(None, 2, true, None).await, ids[..2]);
        assert_eq!(list(Some(&ids[1]), 2, true, None).await, ids[2..]);
        assert_eq!(list(None, 1, false, None).await, ids[2..]);
        assert_eq!(
            list(Some(&ids[2]), 9, false, None).await,
            [ids[1].clone(), ids[0].clone()]
        );
        assert_eq!(list(None, 9, true, Some("batch_output")).await, ids[1..2]);
    });
}

#[test]
fn a_file_past_its_end_is_gone_and_so_is_one_that_never_became_complete() {
    on_both(async |fresh: &Fresh| {
        let files = files(fresh, &BatchSettings::default());
        let file = stored(&files, b"x", "batch").await;
        let mut arriving = files.begin(&acme(), noon()).await.expect("begin");
        arriving.write(&[b'x'; CHUNK]).await.expect("write");
        assert_eq!(files.purge(hours(23)).await.expect("purge"), 0);
        assert_eq!(files.purge(hours(24)).await.expect("purge"), 1);
        let late = arriving.finish("a", "batch", None, hours(24)).await;
        assert!(matches!(late, Err(HistoryError::FileGone(_))));
        assert!(sees(&files, &acme(), &file.id, hours(719)).await);
        assert!(!sees(&files, &acme(), &file.id, hours(720)).await);
        assert_eq!(files.purge(hours(720)).await.expect("purge"), 1);
        let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM file_chunk")
            .fetch_one(fresh.store.pool())
            .await
            .expect("a count");
        assert_eq!(left, 0);
    });
}

#[tokio::test]
async fn no_file_and_no_organisation_takes_more_than_its_room() {
    let fresh = Fresh::sqlite().await;
    let settings = BatchSettings {
        file_bytes: 10,
        organisation_bytes: 15,
        ..BatchSettings::default()
    };
    let files = files(&fresh, &settings);
    let mut long = files.begin(&acme(), noon()).await.expect("begin");
    let error = long.write(&[b'x'; 11]).await.expect_err("too long");
    assert!(
        error.to_string().contains("this file takes 11 bytes"),
        "{error}"
    );
    // Two at once, which fit one by one.
    let mut one = files.begin(&acme(), noon()).await.expect("begin");
    let mut two = files.begin(&acme(), noon()).await.expect("begin");
    one.write(&[b'x'; 8]).await.expect("write");
    two.write(&[b'x'; 8]).await.expect("write");
    one.finish("a", "batch", None, noon())
        .await
        .expect("finish");
    let error = two
        .finish("b", "batch", None, noon())
        .await
        .expect_err("no room");
    assert!(
        error.to_string().contains("files together takes 16"),
        "{error}"
    );
    let mut rest = files.begin(&acme(), noon()).await.expect("begin");
    rest.write(&[b'x'; 8]).await.expect_err("7 are left");
}
