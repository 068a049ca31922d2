//! The pages as a reader meets them, over HTTP: what they say, whom they let in, and what they
//! never let through. Figures come from [`Sample`]; layout is the browser suite's.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::sample::{APP, FINANCE, Sample, now, principal};
use super::{DashboardSettings, Spend};
use crate::access::Role;
use crate::ledger::Price;
use crate::money::Money;

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The value of the first element with this id that shows money, in full.
    fn exact(&self, id: &str) -> Money {
        let (_, rest) = self
            .text
            .split_once(&format!("id=\"{id}\""))
            .expect("the element");
        let (_, rest) = rest.split_once("data-exact=\"").expect("money");
        rest.split('"')
            .next()
            .expect("a value")
            .parse()
            .expect("money")
    }

    /// Amounts marked so within the picture.
    fn all(&self, marked: &str) -> Vec<Money> {
        let mark = format!(" {marked}=\"");
        self.text
            .split(&mark)
            .skip(1)
            .map(|rest| {
                rest.split('"')
                    .next()
                    .expect("a value")
                    .parse()
                    .expect("money")
            })
            .collect()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Page {
    let answer = router.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Page {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).expect("text"),
    }
}

async fn get_with(router: &Router, address: &str, headers: &[(&str, &str)]) -> Page {
    let mut request = Request::get(address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::empty()).expect("a request")).await
}

async fn get(router: &Router, address: &str) -> Page {
    get_with(
        router,
        address,
        &[("authorization", &format!("Bearer {FINANCE}"))],
    )
    .await
}

async fn post(router: &Router, address: &str, form: &str, headers: &[(&str, &str)]) -> Page {
    let kind = "application/x-www-form-urlencoded";
    let mut request = Request::post(address).header(header::CONTENT_TYPE, kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        router,
        request
            .body(Body::from(form.to_owned()))
            .expect("a request"),
    )
    .await
}

const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Signs in; gives the cookie as a browser returns it.
async fn signed_in(router: &Router) -> String {
    let page = post(
        router,
        "/dashboard/login",
        &format!("key={FINANCE}"),
        &[OWN],
    )
    .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    page.header("set-cookie")
        .split(';')
        .next()
        .expect("a pair")
        .to_owned()
}

fn november() -> (Money, Money, Money) {
    let rows = Sample::new().rows;
    let rows: Vec<Spend> = rows
        .into_iter()
        .filter(|row| row.key[0].starts_with("2026-11"))
        .collect();
    let sum = |of: fn(&Spend) -> Money| rows.iter().map(of).sum::<Money>();
    (
        sum(|row| row.cost),
        sum(|row| row.spread),
        sum(|row| row.list),
    )
}

#[tokio::test]
async fn the_page_shows_the_ledgers_sums_to_the_last_digit_however_it_is_grouped() {
    let router = Sample::new().serve();
    let (cost, spread, list) = november();
    for by in ["team", "host", "day"] {
        let page = get(
            &router,
            &format!("/dashboard?from=2026-11-01&to=2026-11-24&by={by}"),
        )
        .await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.exact("spent"), cost, "{by}");
        assert_eq!(page.exact("saved-routing"), spread - cost, "{by}");
        assert_eq!(page.exact("saved-list"), list - cost, "{by}");
    }
}

#[tokio::test]
async fn the_picture_has_the_same_money_as_the_table() {
    let router = Sample::new().serve();
    for by in ["team", "host", "day"] {
        let page = get(&router, &format!("/dashboard?by={by}")).await;
        let (_, picture) = page.text.split_once("<figure").expect("a picture");
        let (picture, _) = picture.split_once("</figure>").expect("a picture");
        let picture = Page {
            text: picture.to_owned(),
            headers: HeaderMap::new(),
            status: page.status,
        };
        // Each bar and each of its parts.
        assert_eq!(
            picture.all("data-exact").into_iter().sum::<Money>(),
            november().0 + november().0
        );
    }
}

#[tokio::test]
async fn the_days_in_the_address_decide_what_is_counted() {
    let router = Sample::new().serve();
    let today: Money = Sample::new()
        .rows
        .iter()
        .filter(|row| row.key[0] == "2026-11-24")
        .map(|row| row.cost)
        .sum();
    let page = get(&router, "/dashboard?from=2026-11-24&to=2026-11-24").await;
    assert_eq!(page.exact("spent"), today);
    assert!(page.text.contains("24 November 2026"));
    let page = get(&router, "/dashboard?from=2026-11-25&to=2026-11-24").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.text.contains("swap them"));
    let page = get(&router, "/dashboard?from=2026-01-01&to=2026-01-02&by=host").await;
    assert!(page.text.contains("Nothing was spent in these days"));
}

#[tokio::test]
async fn an_entry_without_a_price_is_an_alarm_and_never_zero() {
    let mut sample = Sample::new();
    sample.rows.last_mut().expect("rows").unpriced = 1;
    sample.entries[0].price = Price::Unpriced;
    let id = sample.entries[0].id;
    let router = sample.serve();
    let page = get(&router, "/dashboard").await;
    assert!(page.text.contains("1 entry has no price"));
    assert!(page.text.contains("at least"));
    assert!(
        page.text
            .contains(r#"<strong class="warn">no price</strong>"#)
    );
    let page = get(&router, &format!("/dashboard/requests/{id}")).await;
    assert!(page.text.contains("This entry has no price"));
    assert!(!page.text.contains(">$0.00<") && !page.text.contains("id=\"charged\""));
    assert!(
        !get(&Sample::new().serve(), "/dashboard")
            .await
            .text
            .contains("no price</h2>")
    );
}

#[tokio::test]
async fn the_page_says_how_far_its_figures_reach() {
    let page = get(&Sample::new().serve(), "/dashboard").await;
    assert!(page.text.contains("<strong>Complete</strong> as of"));
    assert!(page.text.contains("24 Nov 2026, 08:36:12"));
    let mut sample = Sample::new();
    sample.in_spool = 3;
    let page = get(&sample.serve(), "/dashboard").await;
    assert!(page.text.contains("3 entries are"));
    assert!(!page.text.contains("<strong>Complete</strong>"));
}

#[tokio::test]
async fn prices_of_the_moment_name_the_next_change_and_the_lowest() {
    let page = get(&Sample::new().serve(), "/dashboard").await;
    assert!(
        page.text
            .contains("off-peak <strong>in 1 h 23 min</strong>")
    );
    assert!(page.text.contains("no price known"));
    assert!(page.text.contains(r#"aria-label="lowest">●</span> $0.62"#));
    assert!(page.text.contains("$0.00725"));
}

#[tokio::test]
async fn each_request_says_why_it_went_there_and_leads_to_the_whole_decision() {
    let sample = Sample::new();
    let entry = sample.entries[6].clone();
    let router = sample.serve();
    let overview = get(&router, "/dashboard").await;
    assert!(overview.text.contains("only bedrock answers the tag eu"));
    let address = format!("/dashboard/requests/{}", entry.id);
    assert!(overview.text.contains(&address));
    let page = get(&router, &address).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.exact("charged"), entry.price.cost().expect("a price"));
    for fact in [
        "lacks tag eu",
        "https://api-docs.deepseek.com",
        "read 20 November 2026",
        "chosen",
        "Output, thinking",
    ] {
        assert!(page.text.contains(fact), "{fact}");
    }
    assert!(!page.text.contains("differs from the ledger"));
}

#[tokio::test]
async fn a_cost_that_its_prices_do_not_give_is_pointed_out() {
    let mut sample = Sample::new();
    let id = sample.entries[0].id;
    if let Price::Priced { cost, .. } = &mut sample.entries[0].price {
        *cost += Money::from_picodollars(1);
    }
    let page = get(&sample.serve(), &format!("/dashboard/requests/{id}")).await;
    assert!(page.text.contains("differs from the ledger"));
}

#[tokio::test]
async fn names_made_to_deceive_or_to_run_are_shown_plain() {
    let evil = "<script>alert(1)</script>\"'\u{202E}gnp\u{1B}[31m";
    let mut sample = Sample::new();
    for row in &mut sample.rows {
        row.key[1] = format!("{evil}{}", row.key[1]);
        row.key[2] = format!("{evil}{}", row.key[2]);
    }
    for window in &mut sample.windows {
        window.title = evil.into();
        window.model = evil.into();
    }
    for entry in &mut sample.entries {
        entry.payer.team = evil.into();
        entry.payer.project = evil.into();
        entry.tags = evil.into();
        entry.place.model = evil.into();
        entry.place.region = evil.into();
        entry.host_request = Some(evil.into());
        entry.decision = serde_json::json!({
            "chosen": evil, "policy": evil,
            "ranked": [{"backend": evil, "cost": "0.1", "window": evil}, {"backend": evil}],
            "rejected": [{"backend": evil, "reason": format!("lacks tag {evil}")}],
        })
        .to_string()
        .into();
    }
    let id = sample.entries[0].id;
    let router = sample.serve();
    for address in [
        "/dashboard?by=team",
        "/dashboard?by=host",
        &format!("/dashboard/requests/{id}"),
    ] {
        let page = get(&router, address).await;
        assert_eq!(page.status, StatusCode::OK, "{address}");
        assert!(!page.text.contains("<script"), "{address}");
        assert!(!page.text.contains(['\u{202E}', '\u{1B}']), "{address}");
        assert!(page.text.contains("alert(1)"), "{address}");
        assert!(page.text.contains("⟨U+202E⟩"), "{address}");
    }
}

#[tokio::test]
async fn a_stranger_is_asked_to_sign_in_and_led_back() {
    let router = Sample::new().serve();
    let page = get_with(&router, "/dashboard", &[]).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, "/dashboard/login")
    );
    let page = get_with(&router, "/dashboard?from=2026-11-01&by=host", &[]).await;
    let login = page.header("location").to_owned();
    let form = get_with(&router, &login, &[]).await;
    assert!(
        form.text
            .contains(r#"value="/dashboard?from=2026-11-01&#38;by=host""#)
    );
    let next = "%2Fdashboard%3Ffrom%3D2026-11-01%26by%3Dhost";
    let page = post(
        &router,
        "/dashboard/login",
        &format!("key={FINANCE}&next={next}"),
        &[OWN],
    )
    .await;
    assert_eq!(
        page.header("location"),
        "/dashboard?from=2026-11-01&by=host"
    );
    let page = post(
        &router,
        "/dashboard/login",
        &format!("key={FINANCE}&next=%2F%2Fevil.example"),
        &[OWN],
    )
    .await;
    assert_eq!(page.header("location"), "/dashboard");
}

#[tokio::test]
async fn a_session_ends_with_its_key_its_role_and_its_logout() {
    let plain = DashboardSettings {
        https: true,
        demonstration: false,
    };
    let (router, sample) = Sample::new().shared(plain);
    let cookie = signed_in(&router).await;
    let read = async |cookie: &str| {
        get_with(&router, "/dashboard", &[("cookie", cookie)])
            .await
            .status
    };
    assert_eq!(read(&cookie).await, StatusCode::OK);
    sample
        .keys
        .lock()
        .insert(FINANCE.to_owned(), principal(Role::App, "treasury", 1));
    assert_eq!(read(&cookie).await, StatusCode::FORBIDDEN);
    sample.keys.lock().insert(
        FINANCE.to_owned(),
        principal(Role::Compliance, "treasury", 1),
    );
    assert_eq!(read(&cookie).await, StatusCode::OK);
    let mut expired = principal(Role::Finance, "treasury", 1);
    expired.expires = Some(now());
    sample.keys.lock().insert(FINANCE.to_owned(), expired);
    assert_eq!(read(&cookie).await, StatusCode::SEE_OTHER);
    sample
        .keys
        .lock()
        .insert(FINANCE.to_owned(), principal(Role::Finance, "treasury", 1));
    let page = post(
        &router,
        "/dashboard/logout",
        "",
        &[OWN, ("cookie", &cookie)],
    )
    .await;
    assert!(
        page.header("set-cookie").contains("tollgate_session=; ")
            && page.header("set-cookie").contains("Max-Age=0")
    );
    assert_eq!(read(&cookie).await, StatusCode::SEE_OTHER);
    let cookie = signed_in(&router).await;
    sample.keys.lock().remove(FINANCE);
    assert_eq!(read(&cookie).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn each_role_may_do_what_its_line_says_on_every_page() {
    for role in Role::ALL {
        let sample = Sample::new();
        let request = format!("/dashboard/requests/{}", sample.entries[0].id);
        sample
            .keys
            .lock()
            .insert(FINANCE.to_owned(), principal(role, "treasury", 1));
        let router = sample.serve();
        for address in ["/dashboard", &request] {
            let page = get(&router, address).await;
            let expected = if role.may_read_dashboard() {
                StatusCode::OK
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(page.status, expected, "{} {address}", role.as_str());
        }
    }
    let router = Sample::new().serve();
    let page = post(&router, "/dashboard/login", &format!("key={APP}"), &[OWN]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(
        page.text.contains("has the role app")
            && page.text.contains("finance, compliance or admin")
    );
    assert_eq!(page.header("set-cookie"), "");
    for address in ["/dashboard", "/dashboard/requests/x"] {
        assert_eq!(
            post(&router, address, "", &[OWN]).await.status,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_so_in_words_and_slowed_down() {
    let router = Sample::new().serve();
    let page = post(
        &router,
        "/dashboard/login",
        "key=%27+OR+1%3D1--&next=",
        &[OWN],
    )
    .await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("not known here") && page.text.contains("role=\"alert\""));
    assert!(!page.text.contains("OR 1=1"));
    for _ in 0..20 {
        post(&router, "/dashboard/login", "key=tg_guessing_0001", &[OWN]).await;
    }
    let page = post(&router, "/dashboard/login", "key=tg_guessing_0002", &[OWN]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_ne!(page.header("retry-after"), "");
    assert!(!signed_in(&router).await.is_empty());
    let bearer = get_with(
        &router,
        "/dashboard",
        &[("authorization", "Bearer nonsense")],
    )
    .await;
    assert_eq!(bearer.status, StatusCode::UNAUTHORIZED);
    let basic = get_with(&router, "/dashboard", &[("authorization", "Basic eDp5")]).await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
    let both = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(
        get_with(&router, "/dashboard", &both).await.status,
        StatusCode::BAD_REQUEST
    );
    let huge = format!("key={}", "a".repeat(64 * 1024));
    assert_eq!(
        post(&router, "/dashboard/login", &huge, &[OWN])
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn another_sites_form_signs_nobody_in_or_out() {
    let router = Sample::new().serve();
    let cookie = signed_in(&router).await;
    for headers in [
        vec![("sec-fetch-site", "cross-site")],
        vec![("origin", "https://evil.example"), ("host", "gate.example")],
        vec![],
    ] {
        let page = post(
            &router,
            "/dashboard/login",
            &format!("key={FINANCE}"),
            &headers,
        )
        .await;
        assert_eq!(
            (page.status, page.header("set-cookie")),
            (StatusCode::FORBIDDEN, "")
        );
        let mut with_cookie = headers.clone();
        with_cookie.push(("cookie", &cookie));
        assert_eq!(
            post(&router, "/dashboard/logout", "", &with_cookie)
                .await
                .status,
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(
        get_with(&router, "/dashboard", &[("cookie", &cookie)])
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn every_answer_carries_the_strict_headers() {
    let router = Sample::new().serve();
    for address in [
        "/dashboard",
        "/dashboard/login",
        "/dashboard/nothing",
        "/dashboard/requests/x",
        "/dashboard/assets/tollgate.css",
        "/dashboard/",
    ] {
        let page = get(&router, address).await;
        assert_eq!(
            page.header("content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            "{address}"
        );
        assert_eq!(
            page.header("x-content-type-options"),
            "nosniff",
            "{address}"
        );
        assert_eq!(page.header("referrer-policy"), "same-origin", "{address}");
        let kept = if address.contains("assets") {
            "public, max-age=3600"
        } else {
            "no-store"
        };
        assert_eq!(page.header("cache-control"), kept, "{address}");
        for forbidden in ["<script", " style=\"", "http-equiv", " onclick"] {
            assert!(!page.text.contains(forbidden), "{address} has {forbidden}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_another_organisation_does_not_exist() {
    let mut sample = Sample::new();
    sample.entries[0].payer.organisation = "other".into();
    let id = sample.entries[0].id;
    let router = sample.serve();
    let unknown = "/dashboard/requests/01935d00-0000-7000-8000-00000000ffff";
    let (theirs, nobodys) = (
        get(&router, &format!("/dashboard/requests/{id}")).await,
        get(&router, unknown).await,
    );
    assert_eq!(
        (theirs.status, nobodys.status),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    assert_eq!(theirs.text, nobodys.text);
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_said_without_its_address() {
    let mut sample = Sample::new();
    sample.broken = true;
    let page = get(&sample.serve(), "/dashboard").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text.contains("Nothing is lost") && !page.text.contains("db.internal"));
}

#[tokio::test]
async fn a_demonstration_says_so_on_every_page_and_a_real_ledger_never_does() {
    for demonstration in [true, false] {
        let sample = Sample::new();
        let request = format!("/dashboard/requests/{}", sample.entries[0].id);
        let router = sample.serve_with(DashboardSettings {
            https: false,
            demonstration,
        });
        for address in ["/dashboard", "/dashboard/login", &request] {
            let page = get(&router, address).await;
            assert_eq!(
                page.text.contains("Demonstration."),
                demonstration,
                "{address}"
            );
        }
    }
}

#[tokio::test]
async fn a_style_is_sent_again_only_when_it_changed() {
    let router = Sample::new().serve();
    let first = get_with(&router, "/dashboard/assets/tollgate.css", &[]).await;
    assert_eq!(first.header("content-type"), "text/css; charset=utf-8");
    let tag = first.header("etag").to_owned();
    let again = get_with(
        &router,
        "/dashboard/assets/tollgate.css",
        &[("if-none-match", &tag)],
    )
    .await;
    assert_eq!(
        (again.status, again.text.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
    let other = get_with(
        &router,
        "/dashboard/assets/tollgate.css",
        &[("if-none-match", "\"0\"")],
    )
    .await;
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(
        get_with(&router, "/dashboard/assets/..%2f..%2fCargo.toml", &[])
            .await
            .status,
        StatusCode::NOT_FOUND
    );
}
