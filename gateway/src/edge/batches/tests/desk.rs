//! Files and batches as a client asks for them.

use super::*;

#[test]
fn a_file_is_told_as_openai_tells_it_and_comes_back_as_it_was_sent() {
    on_both(async |fresh: &Fresh| {
        let world = world(fresh, &Hosts::that(|n, _| said(n)));
        let file = world
            .told("POST", "/v1/files", upload("batch", "{\"a\":1}\n"))
            .await;
        let id = file["id"].as_str().expect("an id");
        let created = file["created_at"].as_i64().expect("seconds");
        let expected = json!({"id": id, "object": "file", "bytes": 8, "created_at": created,
            "expires_at": created + 30 * 24 * 3600, "filename": "in.jsonl", "purpose": "batch",
            "status": "processed", "status_details": null});
        assert_eq!(file, expected);
        let path = format!("/v1/files/{id}");
        assert_eq!(world.told("GET", &path, Body::empty()).await, expected);
        let listed = world
            .told("GET", "/v1/files?purpose=batch", Body::empty())
            .await;
        let expected = json!({"object": "list", "data": [expected], "first_id": id, "last_id": id,
            "has_more": false});
        assert_eq!(listed, expected);
        let content = format!("{path}/content");
        let (_, body) = world.send("GET", &content, "acme:app", Body::empty()).await;
        assert_eq!(&body[..], b"{\"a\":1}\n");
        for (method, path) in [("GET", &path), ("GET", &content), ("DELETE", &path)] {
            let (status, _) = world.send(method, path, "other:app", Body::empty()).await;
            assert_eq!(status, 404);
        }
        let deleted = world.told("DELETE", &path, Body::empty()).await;
        assert_eq!(
            deleted,
            json!({"id": id, "object": "file", "deleted": true})
        );
        let (status, _) = world.send("GET", &path, "acme:app", Body::empty()).await;
        assert_eq!(status, 404);
    });
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_or_a_batch_is_told() {
    let fresh = Fresh::sqlite().await;
    let world = world(&fresh, &Hosts::that(|n, _| said(n)));
    let id = world.upload("{}").await;
    let broken = Body::from("--XX\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\ncut o");
    let ours = |change: Value| {
        let mut wanted = json!({"input_file_id": id, "endpoint": "/v1/chat/completions",
            "completion_window": "24h"});
        for (name, value) in change.as_object().expect("an object") {
            wanted[name] = value.clone();
        }
        Body::from(wanted.to_string())
    };
    let many: BTreeMap<String, String> = (0..17).map(|n| (n.to_string(), String::new())).collect();
    for (path, key, body, status, field) in [
        (
            "files",
            "acme:app",
            upload("fine-tune", "{}"),
            400,
            json!("purpose"),
        ),
        (
            "files",
            "acme:app",
            Body::from("--XX--\r\n"),
            400,
            json!("file"),
        ),
        ("files", "acme:app", broken, 400, json!(null)),
        (
            "files",
            "acme:finance",
            upload("batch", "{}"),
            403,
            json!(null),
        ),
        ("files", "nobody", upload("batch", "{}"), 401, json!(null)),
        ("batches", "nobody", wanted(&id), 401, json!(null)),
        ("batches", "other:app", wanted(&id), 404, json!(null)),
        ("batches", "acme:app", Body::from("{}"), 400, json!(null)),
        (
            "batches",
            "acme:app",
            ours(json!({"endpoint": "/v1/embeddings"})),
            400,
            json!("endpoint"),
        ),
        (
            "batches",
            "acme:app",
            ours(json!({"completion_window": "1h"})),
            400,
            json!("completion_window"),
        ),
        (
            "batches",
            "acme:app",
            ours(json!({"metadata": many})),
            400,
            json!("metadata"),
        ),
        (
            "batches",
            "acme:app",
            ours(json!({"output_expires_after": {"anchor": "created_at", "seconds": 5}})),
            400,
            json!("output_expires_after"),
        ),
    ] {
        let (got, body) = world.send("POST", &format!("/v1/{path}"), key, body).await;
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((got, &told["error"]["param"]), (status, &field), "{told}");
        assert!(told["error"]["message"].is_string() && told["error"]["code"].is_string());
    }
    for path in [
        "files?limit=0",
        "files?order=up",
        "batches?limit=101",
        "batches?limit=x",
    ] {
        let (status, _) = world
            .send("GET", &format!("/v1/{path}"), "acme:app", Body::empty())
            .await;
        assert_eq!(status, 400, "{path}");
    }
    // What was refused half way leaves nothing behind.
    let listed = world.told("GET", "/v1/files", Body::empty()).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    let (files,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM stored_file")
        .fetch_one(fresh.store.pool())
        .await
        .expect("a count");
    assert_eq!(files, 1);
}
