//! What becomes of a batch.

use super::*;

#[test]
fn a_batch_is_asked_line_by_line_with_its_callers_key_and_demands_and_told_in_two_files() {
    on_both(async |fresh: &Fresh| {
        let hosts = Hosts::that(|n, _| if n == 2 { failed(400) } else { said(n) });
        let world = world(fresh, &hosts);
        let content = format!("\u{feff}{}\r\n\n{}\n{}", line(1), line(2), line(3));
        let id = world.batch(&content).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "validating");
        work(&world.runner).await;

        let batch = world.get(&id).await;
        let second = |field: &str| batch[field].as_i64().expect("seconds");
        let expected = json!({"id": id, "object": "batch", "endpoint": "/v1/chat/completions",
            "errors": null, "input_file_id": batch["input_file_id"], "completion_window": "24h",
            "status": "completed", "output_file_id": batch["output_file_id"],
            "error_file_id": batch["error_file_id"], "created_at": second("created_at"),
            "in_progress_at": second("in_progress_at"),
            "expires_at": second("created_at") + 24 * 3600,
            "finalizing_at": second("finalizing_at"), "completed_at": second("completed_at"),
            "failed_at": null, "expired_at": null, "cancelling_at": null, "cancelled_at": null,
            "request_counts": {"total": 3, "completed": 2, "failed": 1},
            "usage": {"input_tokens": 14, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 6, "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 20},
            "metadata": {"run": "7"}});
        assert_eq!(batch, expected);

        let output = world.lines(&batch["output_file_id"]).await;
        assert_eq!(output.len(), 2);
        let row = output[1]["id"].as_str().expect("an id");
        assert!(row.starts_with("batch_req_"));
        assert_eq!(
            output[1],
            json!({"id": row, "custom_id": "mine-3", "error": null, "response":
                {"status_code": 200, "request_id": "request-3", "body": {"answer": 3,
                    "usage": {"prompt_tokens": 7, "completion_tokens": 3}}}})
        );
        let errors = world.lines(&batch["error_file_id"]).await;
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0]["custom_id"], "mine-2");
        assert_eq!(errors[0]["response"]["status_code"], 400);

        for (_, headers, key) in hosts.asked.lock().iter() {
            assert_eq!(headers["x-tollgate-tags"], "eu,soc2");
            assert_eq!(headers["content-type"], "application/json");
            assert!(headers.get("authorization").is_none());
            assert_eq!(*key, world.key);
        }
        // Files of results are files.
        let listed = world
            .told("GET", "/v1/files?purpose=batch_output", Body::empty())
            .await;
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
        let listed = world
            .told("GET", "/v1/batches?limit=1", Body::empty())
            .await;
        assert_eq!(listed["data"][0], batch);
        let (_, other) = world
            .send("GET", "/v1/batches", "other:app", Body::empty())
            .await;
        assert!(String::from_utf8_lossy(&other).contains("\"data\":[]"));
    });
}

#[test]
fn a_wrong_file_fails_the_batch_with_each_line_at_fault_and_asks_nothing() {
    on_both(async |fresh: &Fresh| {
        let hosts = Hosts::that(|n, _| said(n));
        let world = world(fresh, &hosts);
        let changed = |name: &str, value: Value| {
            let mut line: Value = serde_json::from_str(&line(9)).expect("JSON");
            line[name] = value;
            line.to_string()
        };
        let content = [
            line(1),
            "{\"custom_id\":".to_owned(),
            line(1),
            changed("method", json!("GET")),
            changed("url", json!("/v1/embeddings")),
            changed("body", json!(null)),
            changed("body", json!([])),
            changed("body", json!({"stream": true})),
            changed("custom_id", json!("")),
        ];
        let id = world.batch(&content.join("\n")).await;
        work(&world.runner).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "failed");
        assert!(batch["failed_at"].is_i64());
        assert_eq!(batch["errors"]["object"], "list");
        let faults: Vec<(i64, &str)> = batch["errors"]["data"]
            .as_array()
            .expect("faults")
            .iter()
            .map(|fault| {
                let line = fault["line"].as_i64().expect("a line");
                (line, fault["code"].as_str().expect("a code"))
            })
            .collect();
        assert_eq!(
            faults,
            [
                (2, "invalid_json_line"),
                (3, "duplicate_custom_id"),
                (4, "invalid_method"),
                (5, "invalid_url"),
                (6, "missing_required_parameter"),
                (7, "invalid_request"),
                (8, "invalid_request"),
                (9, "invalid_custom_id"),
            ]
        );
        assert!(hosts.asked.lock().is_empty());
        let empty = world.batch("\n \n").await;
        work(&world.runner).await;
        assert_eq!(
            world.get(&empty).await["errors"]["data"][0]["code"],
            "empty_file"
        );
    });
}

mod endings;
