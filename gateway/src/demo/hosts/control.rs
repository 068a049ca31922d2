//! Pages of an emulated host that no real one has, below `/emulator/`: for whoever runs the
//! demonstration.

use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::door::{LARGEST_BODY, document};
use super::fault::Fault;
use super::state::HostState;

/// `/emulator/bill`, `/emulator/count`, `/emulator/fault`.
pub(super) async fn page(
    state: &HostState,
    method: &Method,
    page: &str,
    body: Body,
) -> Response<Body> {
    match (method, page) {
        (&Method::GET, "bill") => document(
            StatusCode::OK,
            &state.book.lock().bill(state.host).to_json(),
        ),
        (&Method::GET, "count") => {
            let billed = state.book.lock().bill(state.host).calls;
            document(
                StatusCode::OK,
                &json!({
                    "host": state.host.name(),
                    "requests": state.requests(),
                    "billed": billed,
                    "in_flight": state.calls_in_flight(),
                }),
            )
        }
        (&Method::POST, "fault") => {
            let body = axum::body::to_bytes(body, LARGEST_BODY)
                .await
                .unwrap_or_default();
            match set_fault(state, &body) {
                Ok(shown) => document(StatusCode::OK, &shown),
                Err(wrong) => document(StatusCode::BAD_REQUEST, &json!({"error": wrong})),
            }
        }
        _ => document(
            StatusCode::NOT_FOUND,
            &json!({"error": "there are GET bill, GET count and POST fault {\"fault\": NAME or null, \"times\": N}"}),
        ),
    }
}

fn set_fault(state: &HostState, body: &[u8]) -> Result<Value, String> {
    let asked: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let fault: Option<Fault> = asked["fault"].as_str().map(str::parse).transpose()?;
    let times = asked["times"]
        .as_u64()
        .and_then(|times| u32::try_from(times).ok());
    state.set_fault(fault, times);
    Ok(json!({"fault": fault.map(|fault| fault.to_string()), "times": times}))
}
