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

#[test]
fn after_a_kill_what_has_a_result_is_never_asked_again_and_nothing_is_lost() {
    on_both(async |fresh: &Fresh| {
        // The first time, the fourth and fifth never answer.
        let hosts = Hosts::that(|n, before| match (n, before) {
            (4 | 5, 0) => None,
            _ => said(n),
        });
        let world = world(fresh, &hosts);
        let id = world.batch(&lines(9)).await;
        let runner = world.runner.clone();
        let working = tokio::spawn(async move { work(&runner).await });
        hosts.until_asked(5).await;
        while world.get(&id).await["request_counts"]["completed"] != 3 {
            tokio::task::yield_now().await;
        }
        working.abort();
        assert!(working.await.expect_err("killed").is_cancelled());
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "in_progress");
        assert_eq!(
            batch["request_counts"],
            json!({"total": 9, "completed": 3, "failed": 0})
        );

        // Its hold outlives it for a while.
        let claimed = later(&world.runner, 20);
        let claimed = claimed
            .batches
            .claim(claimed.pace.hold, claimed.clock.now())
            .await;
        assert!(claimed.expect("claim").is_none());
        work(&later(&world.runner, 60)).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "completed");
        assert_eq!(
            batch["request_counts"],
            json!({"total": 9, "completed": 9, "failed": 0})
        );
        let output = world.lines(&batch["output_file_id"]).await;
        let ids: Vec<&str> = output
            .iter()
            .filter_map(|row| row["custom_id"].as_str())
            .collect();
        let expected: Vec<String> = (1..=9).map(|n| format!("mine-{n}")).collect();
        assert_eq!(ids, expected);
        let times = hosts.times();
        assert_eq!(
            (times[&4], times[&5]),
            (2, 2),
            "what was in flight is asked again"
        );
        assert!(
            times
                .iter()
                .all(|(n, times)| matches!(n, 4 | 5) || *times == 1)
        );
        // Both times under one name.
        let asked = hosts.asked.lock();
        let names = asked.iter().filter(|(body, _, _)| body["n"] == 4);
        let names: Vec<_> = names
            .map(|(_, headers, _)| &headers["idempotency-key"])
            .collect();
        assert_eq!(names[0], names[1]);
    });
}

#[test]
fn a_cancelled_batch_ends_what_is_in_flight_and_tells_what_was_never_asked() {
    on_both(async |fresh: &Fresh| {
        let gate = Arc::new(Mutex::new(false));
        let open = gate.clone();
        // All are busy until the batch is cancelled.
        let hosts = Hosts::that(move |n, _| {
            if n == 1 || *open.lock() {
                said(n)
            } else {
                failed(503)
            }
        });
        let mut world = world(fresh, &hosts);
        world.runner.pace.tries = u32::MAX;
        world.runner.pace.first_wait = Duration::from_secs(3600);
        world.runner.pace.longest_wait = Duration::from_secs(3600);
        let id = world.batch(&lines(4)).await;
        let runner = world.runner.clone();
        let working = tokio::spawn(async move { work(&runner).await });
        hosts.until_asked(3).await;
        let path = format!("/v1/batches/{id}/cancel");
        let (status, _) = world.send("POST", &path, "other:app", Body::empty()).await;
        assert_eq!(status, 404);
        let batch = world.told("POST", &path, Body::empty()).await;
        // The runner may have heard of it and be done before this is told.
        assert!(
            batch["status"] == "cancelling" || batch["status"] == "cancelled",
            "{batch}"
        );
        assert!(batch["cancelling_at"].is_i64());
        working.await.expect("it ends");
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "cancelled");
        assert_eq!(
            batch["request_counts"],
            json!({"total": 4, "completed": 1, "failed": 3})
        );
        assert_eq!(world.lines(&batch["output_file_id"]).await.len(), 1);
        let errors = world.lines(&batch["error_file_id"]).await;
        assert!(
            errors
                .iter()
                .all(|row| row["error"]["code"] == "batch_cancelled"
                    && row["response"] == Value::Null)
        );
        // Cancelled again it is the same, and one that is done cannot be.
        assert_eq!(
            world.told("POST", &path, Body::empty()).await["status"],
            "cancelled"
        );
        *gate.lock() = true;
        let done = world.batch(&lines(1)).await;
        work(&world.runner).await;
        let path = format!("/v1/batches/{done}/cancel");
        let (status, _) = world.send("POST", &path, "acme:app", Body::empty()).await;
        assert_eq!(status, 400);
    });
}

#[test]
fn a_batch_whose_time_is_over_keeps_what_it_has_and_tells_the_rest() {
    on_both(async |fresh: &Fresh| {
        let hosts = Hosts::that(|n, _| if n == 1 { said(n) } else { None });
        let world = world(fresh, &hosts);
        let id = world.batch(&lines(3)).await;
        let runner = world.runner.clone();
        let working = tokio::spawn(async move { work(&runner).await });
        hosts.until_asked(3).await;
        while world.get(&id).await["request_counts"]["completed"] != 1 {
            tokio::task::yield_now().await;
        }
        working.abort();
        let _ = working.await;
        work(&later(&world.runner, 25 * 3600)).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "expired");
        assert!(batch["expired_at"].is_i64());
        assert_eq!(
            batch["request_counts"],
            json!({"total": 3, "completed": 1, "failed": 2})
        );
        let errors = world.lines(&batch["error_file_id"]).await;
        let codes: Vec<&Value> = errors.iter().map(|row| &row["error"]["code"]).collect();
        assert_eq!(codes, ["batch_expired", "batch_expired"]);
        assert_eq!(
            hosts.asked.lock().len(),
            3,
            "nothing is asked after its time"
        );
    });
}

#[test]
fn where_all_are_busy_a_request_is_made_again_and_one_that_breaks_the_gateway_fails_alone() {
    on_both(async |fresh: &Fresh| {
        let hosts = Hosts::that(|n, before| match (n, before) {
            (1, 0..3) => failed(429),
            (2, _) => failed(502),
            (3, _) => panic!("a request that breaks the gateway"),
            _ => said(n),
        });
        let world = world(fresh, &hosts);
        let id = world.batch(&lines(4)).await;
        work(&world.runner).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "completed");
        assert_eq!(
            batch["request_counts"],
            json!({"total": 4, "completed": 2, "failed": 2})
        );
        assert_eq!(hosts.times()[&1], 4);
        assert_eq!(hosts.times()[&2], 10);
        let errors = world.lines(&batch["error_file_id"]).await;
        assert_eq!(errors[0]["response"]["status_code"], 502);
        assert_eq!(errors[1]["response"]["status_code"], 500);
    });
}

#[test]
fn a_line_is_found_whole_wherever_pieces_of_the_file_are_cut_and_one_too_long_is_told() {
    on_both(async |fresh: &Fresh| {
        let hosts = Hosts::that(|n, _| said(n));
        let mut world = world(fresh, &hosts);
        world.runner.settings.line_bytes = 1_200_000;
        // Lines across the ends of pieces of a mebibyte, and one that fills more than a piece.
        let long = |n: u64, bytes: usize| {
            let mut line: Value = serde_json::from_str(&line(n)).expect("JSON");
            line["body"]["pad"] = json!("x".repeat(bytes));
            line.to_string()
        };
        let content = [
            long(1, 700_000),
            long(2, 700_000),
            long(3, 1_150_000),
            line(4),
        ];
        let id = world.batch(&content.join("\n")).await;
        work(&world.runner).await;
        let batch = world.get(&id).await;
        assert_eq!(
            batch["request_counts"],
            json!({"total": 4, "completed": 4, "failed": 0})
        );
        for content in [
            [line(1), long(2, 1_300_000), line(3)].join("\n"),
            [line(1), long(2, 3_000_000)].join("\n"),
        ] {
            let id = world.batch(&content).await;
            work(&world.runner).await;
            let fault = &world.get(&id).await["errors"]["data"][0];
            assert_eq!(
                (&fault["code"], &fault["line"]),
                (&json!("line_too_long"), &json!(2))
            );
        }
        world.runner.settings.lines = 2;
        let id = world.batch(&lines(3)).await;
        work(&world.runner).await;
        let fault = &world.get(&id).await["errors"]["data"][0];
        assert_eq!(
            (&fault["code"], &fault["line"]),
            (&json!("too_many_requests"), &json!(3))
        );
    });
}

#[test]
fn a_gateway_that_stops_ends_what_is_in_flight_and_another_goes_on_at_once() {
    on_both(async |fresh: &Fresh| {
        let (tell, stop) = watch::channel(false);
        let tell = Mutex::new(Some(tell));
        // Told to stop while the second request is in flight.
        let hosts = Hosts::that(move |n, _| {
            if n == 2
                && let Some(tell) = tell.lock().take()
            {
                tell.send_replace(true);
            }
            said(n)
        });
        let mut world = world(fresh, &hosts);
        world.runner.settings.in_flight = 1;
        let id = world.batch(&lines(5)).await;
        world.runner.clone().run(stop).await;
        let batch = world.get(&id).await;
        assert_eq!(batch["status"], "in_progress");
        assert_eq!(batch["request_counts"]["completed"], 2);
        let (tell, stop) = watch::channel(false);
        let running = tokio::spawn(world.runner.clone().run(stop));
        while world.get(&id).await["status"] != "completed" {
            tokio::task::yield_now().await;
        }
        // A new batch is noticed at once, without waiting for the next round.
        let second = world.batch(&lines(1)).await;
        while world.get(&second).await["status"] != "completed" {
            tokio::task::yield_now().await;
        }
        tell.send_replace(true);
        running.await.expect("it ends");
        assert!(
            hosts
                .times()
                .iter()
                .all(|(n, times)| *times == 1 || *n == 1)
        );
    });
}
