//! Each mistake is refused at its file and line, with what to write instead.

use super::*;
use crate::catalog::Problem;

/// Changes one piece of one file of the small world, and returns all that is then wrong with it
/// and the line on which the changed piece begins.
fn change(file: &str, old: &str, new: &str) -> (Vec<Problem>, usize) {
    let mut world = world();
    let text = world.get_mut(file).expect("a file of the small world");
    assert_eq!(
        text.matches(old).count(),
        1,
        "{old} must stand once in {file}"
    );
    let start = text.find(old).expect("just counted");
    let line = text[..start].matches('\n').count() + 1;
    *text = text.replace(old, new);
    (problems(world), line)
}

fn problems(world: BTreeMap<String, String>) -> Vec<Problem> {
    match load(world) {
        Err(CatalogError::Rejected(problems)) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("taken up although wrong"),
    }
}

/// Asserts that the change is refused for one reason, `below` lines under its first, in these words.
#[track_caller]
fn refused(file: &str, old: &str, new: &str, below: usize, words: &[&str]) {
    let (problems, line) = change(file, old, new);
    let [problem] = problems.as_slice() else {
        panic!("one problem expected: {problems:?}");
    };
    assert_eq!(
        (problem.file.as_str(), problem.line),
        (file, line + below),
        "{problem}"
    );
    for word in words {
        assert!(
            problem.message.contains(word),
            "{word:?} missing: {problem}"
        );
    }
    assert!(
        !problem.message.contains('\n'),
        "a problem is one line: {problem}"
    );
}

/// As `refused`, of a file `acme.toml` at the head of the row that lacks something.
#[track_caller]
fn refused_row(old: &str, new: &str, head: &str, words: &[&str]) {
    let (problems, _) = change("acme.toml", old, new);
    let [problem] = problems.as_slice() else {
        panic!("one problem expected: {problems:?}");
    };
    let start = ACME.find(head).expect("a row's head");
    let line = ACME[..start].matches('\n').count() + 1;
    assert_eq!(
        (problem.file.as_str(), problem.line),
        ("acme.toml", line),
        "{problem}"
    );
    for word in words {
        assert!(
            problem.message.contains(word),
            "{word:?} missing: {problem}"
        );
    }
}

const TARIFF: &str = "[[offer.tariff]]\nname = \"spring\"";

#[test]
fn the_small_world_is_right() {
    let catalog = load(world()).expect("the small world");
    assert_eq!(catalog.hosts.len(), 1);
    assert_eq!(catalog.version.as_str().len(), 16);
}

#[test]
fn an_unknown_word_is_refused() {
    refused(
        "acme.toml",
        "title = \"Acme\"",
        "titel = \"Acme\"",
        0,
        &["unknown field `titel`", "`title`"],
    );
    refused(
        "acme.toml",
        "id = \"acme/v4-pro\"",
        "ident = \"acme/v4-pro\"",
        0,
        &["unknown field `ident`", "`id`"],
    );
    refused(
        "acme.toml",
        "wire = \"openai\"",
        "wire = \"soap\"",
        0,
        &["unknown variant `soap`", "openai"],
    );
}

#[test]
fn a_row_without_a_source_is_refused() {
    refused_row(
        "source = \"acme prices\"\n",
        "",
        TARIFF,
        &["missing field `source`", "the page or document"],
    );
}

#[test]
fn a_row_with_an_empty_source_is_refused() {
    refused(
        "acme.toml",
        "source = \"acme prices\"",
        "source = \" \"",
        0,
        &["source is empty", "write the page"],
    );
}

#[test]
fn a_row_without_the_day_it_was_read_is_refused() {
    refused_row(
        "source = \"trust page\"\nread = 2026-11-24",
        "source = \"trust page\"",
        "[[certification]]",
        &["missing field `read`", "read = 2026-11-24"],
    );
}

#[test]
fn overlapping_windows_are_refused() {
    let summer = "[[offer.tariff]]\nname = \"summer\"\nkind = \"list\"\nfrom = 2026-06-01T00:00:00Z\n\
                  known = 2026-04-24T00:00:00Z\nflat = { hit = \"1\", miss = \"1\", output = \"1\" }\n\
                  source = \"s\"\nread = 2026-11-24\n\n";
    refused(
        "acme.toml",
        TARIFF,
        &format!("{summer}{TARIFF}"),
        9,
        &[
            "`summer`",
            "`spring`",
            "acme.toml:",
            "until = 2026-06-01T00:00:00Z",
            "`known`",
        ],
    );
}

#[test]
fn windows_announced_at_different_instants_may_overlap() {
    let summer = "[[offer.tariff]]\nname = \"summer\"\nkind = \"list\"\nfrom = 2026-06-01T00:00:00Z\n\
                  known = 2026-05-24T00:00:00Z\nflat = { hit = \"1\", miss = \"1\", output = \"1\" }\n\
                  source = \"s\"\nread = 2026-11-24\n\n";
    let mut world = world();
    let text = world.get_mut("acme.toml").expect("acme");
    *text = text.replace(TARIFF, &format!("{summer}{TARIFF}"));
    load(world).expect("a later announcement overrules an earlier one");
}

#[test]
fn two_tariffs_of_one_name_are_refused() {
    let again = "[[offer.tariff]]\nname = \"spring\"\nkind = \"promotion\"\nfrom = 2026-06-01T00:00:00Z\n\
                 known = 2026-04-24T00:00:00Z\nflat = { hit = \"1\", miss = \"1\", output = \"1\" }\n\
                 source = \"s\"\nread = 2026-11-24\n\n";
    refused(
        "acme.toml",
        TARIFF,
        &format!("{again}{TARIFF}"),
        9,
        &["`spring` stands already", "another name"],
    );
}

#[test]
fn bands_that_share_an_hour_of_a_day_are_refused() {
    let band = "    { name = \"off-peak\"";
    let noon = "    { name = \"noon\", hours = [\"11:00-13:00\"], days = [\"tue\", \"wed\"], hit = \"1\", miss = \"1\", output = \"1\" },\n";
    refused(
        "acme.toml",
        band,
        &format!("{noon}{band}"),
        0,
        &["`peak`", "`noon`", "11:00", "move the hours apart"],
    );
}

#[test]
fn bands_on_different_days_may_have_the_same_hours() {
    let mut world = world();
    let band = "    { name = \"off-peak\"";
    let noon = "    { name = \"noon\", hours = [\"11:00-13:00\"], days = [\"wed\"], hit = \"1\", miss = \"1\", output = \"1\" },\n";
    let text = world.get_mut("acme.toml").expect("acme");
    *text = text.replace(band, &format!("{noon}{band}"));
    load(world).expect("no shared day");
}

#[test]
fn hours_named_twice_in_one_band_are_refused() {
    refused(
        "acme.toml",
        "\"14:00-18:00\"",
        "\"11:00-18:00\"",
        0,
        &["overlap 09:00", "each hour once"],
    );
}

#[test]
fn hours_that_are_none_are_refused() {
    for hours in [
        "18:00-09:00",
        "9-12",
        "+9:00-12:00",
        "09:00-24:01",
        "09:60-10:00",
        "09:00-09:00",
    ] {
        refused(
            "acme.toml",
            "14:00-18:00",
            hours,
            0,
            &[hours, "09:00-12:00", "crosses midnight"],
        );
    }
}

#[test]
fn a_tariff_without_a_band_for_the_rest_of_the_time_is_refused() {
    refused_row(
        "{ name = \"off-peak\", hit",
        "{ name = \"off-peak\", hours = [\"00:00-09:00\"], hit",
        TARIFF,
        &["no band takes the rest", "one band without `hours`"],
    );
}

#[test]
fn two_bands_without_hours_are_refused() {
    refused(
        "acme.toml",
        "hours = [\"09:00-12:00\", \"14:00-18:00\"], days = [\"mon\", \"tue\"], holidays_off = true, ",
        "",
        1,
        &["two bands without hours", "write `hours`"],
    );
}

#[test]
fn a_tariff_without_any_price_is_refused() {
    let (problems, _) = change(
        "acme.toml",
        "bands = [\n    { name = \"peak\", hours = [\"09:00-12:00\", \"14:00-18:00\"], days = [\"mon\", \"tue\"], holidays_off = true, hit = \"0.044\", miss = \"1.32\", output = \"3.96\" },\n    { name = \"off-peak\", hit = \"0.022\", miss = \"0.66\", output = \"1.98\" },\n]",
        "",
    );
    assert!(
        problems[0].message.contains("write `flat ="),
        "{problems:?}"
    );
}

#[test]
fn days_and_holidays_without_hours_are_refused() {
    refused(
        "acme.toml",
        "hours = [\"09:00-12:00\", \"14:00-18:00\"], days = [\"mon\", \"tue\"], holidays_off = true, hit = \"0.044\", miss = \"1.32\", output = \"3.96\" },\n    { name = \"off-peak\"",
        "hours = [\"09:00-12:00\"], hit = \"1\", miss = \"1\", output = \"1\" },\n    { name = \"off-peak\", days = [\"sun\"]",
        1,
        &["leave out `days`", "00:00-24:00"],
    );
}

#[test]
fn an_unknown_calendar_is_refused() {
    refused(
        "acme.toml",
        "calendar = \"china\"",
        "calendar = \"chile\"",
        0,
        &["no calendar `chile`", "china"],
    );
}

#[test]
fn holidays_off_without_a_calendar_is_refused() {
    refused(
        "acme.toml",
        "calendar = \"china\"\n",
        "",
        3,
        &["`holidays_off`", "calendar = \"china\""],
    );
}

#[test]
fn an_unknown_zone_is_refused() {
    refused(
        "acme.toml",
        "Asia/Shanghai",
        "Asia/Beijing",
        0,
        &["no time zone `Asia/Beijing`", "Asia/Shanghai"],
    );
}

#[test]
fn an_unknown_region_is_refused() {
    refused(
        "acme.toml",
        "regions = [\"global\"]\nfrom",
        "regions = [\"globe\"]\nfrom",
        0,
        &["no region `globe`", "global", "[[endpoint]]"],
    );
    refused(
        "acme.toml",
        "regions = [\"global\"]\nmodels",
        "regions = [\"mars\"]\nmodels",
        0,
        &["no region `mars`"],
    );
}

#[test]
fn an_unknown_model_is_refused() {
    refused(
        "acme.toml",
        "model = \"deepseek-v4-pro\"",
        "model = \"deepseek-v4-pr0\"",
        0,
        &["no model `deepseek-v4-pr0`", "`deepseek-v4-pro`"],
    );
    refused(
        "acme.toml",
        "models = [\"deepseek-v4-pro\"]",
        "models = [\"v4\"]",
        0,
        &["no model `v4`"],
    );
    refused(
        "models.toml",
        "model = \"deepseek-v4-flash\"",
        "model = \"v3\"",
        0,
        &["no model `v3`"],
    );
}

#[test]
fn an_unknown_snapshot_is_refused() {
    refused(
        "acme.toml",
        "snapshot = \"0813\"",
        "snapshot = \"0814\"",
        0,
        &["no snapshot `0814`", "0813, preview"],
    );
}

#[test]
fn a_host_defined_twice_is_refused() {
    let mut world = world();
    world.insert("bcme.toml".to_owned(), ACME.to_owned());
    let problems = problems(world);
    assert_eq!(
        (problems[0].file.as_str(), problems[0].line),
        ("bcme.toml", 2)
    );
    assert!(
        problems[0]
            .message
            .contains("defined already at acme.toml:2")
    );
    assert!(problems[0].message.contains("extends = \"acme\""));
}

#[test]
fn an_extension_of_nobody_is_refused() {
    let mut world = world();
    world.insert("more.toml".to_owned(), "extends = \"acne\"\n".to_owned());
    let problems = problems(world);
    assert_eq!(
        (problems[0].file.as_str(), problems[0].line),
        ("more.toml", 1)
    );
    assert!(problems[0].message.contains("write `acme`"), "{problems:?}");
}

#[test]
fn an_offer_made_twice_is_refused() {
    let mut world = world();
    let start = ACME.find("[[offer]]").expect("an offer");
    let end = ACME.find("[[offer.tariff]]").expect("a tariff");
    world.insert(
        "more.toml".to_owned(),
        format!("extends = \"acme\"\n{}", &ACME[start..end]),
    );
    let problems = problems(world);
    assert_eq!(
        (problems[0].file.as_str(), problems[0].line),
        ("more.toml", 2)
    );
    assert!(problems[0].message.contains("acme/v4-pro"));
    assert!(problems[0].message.contains("end that offer with `until`"));
}

#[test]
fn an_end_before_its_beginning_is_refused() {
    refused(
        "acme.toml",
        "kind = \"list\"",
        "kind = \"list\"\nuntil = 2026-04-24T00:00:00Z",
        1,
        &["not after `from`", "after 2026-04-24T00:00:00Z"],
    );
    refused(
        "acme.toml",
        "snapshot = \"0813\"",
        "snapshot = \"0813\"\nuntil = 2026-04-23T00:00:00Z",
        1,
        &["not after `from`"],
    );
    refused(
        "acme.toml",
        "valid_until = 2026-12-31",
        "valid_until = 2025-12-31",
        0,
        &["before `valid_from`", "last day"],
    );
}

#[test]
fn an_endpoint_without_an_address_needs_the_operators_mark() {
    for unset in ["base_url = \"\"", ""] {
        refused_row(
            "base_url = \"https://api.acme.example/v1\"",
            unset,
            "[[endpoint]]",
            &["no address", "operator_sets_url = true"],
        );
    }
    let mut world = world();
    let text = world.get_mut("acme.toml").expect("acme");
    *text = text.replace(
        "base_url = \"https://api.acme.example/v1\"",
        "operator_sets_url = true",
    );
    let catalog = load(world).expect("marked");
    assert_eq!(catalog.hosts["acme"].endpoints[0].base_url, None);
}

#[test]
fn an_address_is_http_and_holds_no_secret() {
    refused(
        "acme.toml",
        "https://api.acme.example/v1",
        "ftp://api.acme.example/v1",
        0,
        &["no address", "https://"],
    );
    refused(
        "acme.toml",
        "https://api.acme.example/v1",
        "api.acme.example",
        0,
        &["no address"],
    );
    refused(
        "acme.toml",
        "https://api.acme",
        "https://me:secret@api.acme",
        0,
        &["must not carry", "`auth`"],
    );
}

#[test]
fn a_key_in_place_of_its_variable_is_refused_and_not_repeated() {
    refused(
        "acme.toml",
        "ACME_API_KEY",
        "sk-secret",
        0,
        &["environment variable"],
    );
    let (problems, _) = change("acme.toml", "ACME_API_KEY", "sk-secret");
    assert!(!problems[0].message.contains("sk-secret"));
}

#[test]
fn a_price_is_text_with_at_most_six_decimals() {
    refused(
        "acme.toml",
        "hit = \"0.022\"",
        "hit = \"0.0220001\"",
        0,
        &["`0.0220001`", "at most 6 decimals"],
    );
    refused(
        "acme.toml",
        "hit = \"0.022\"",
        "hit = 0.022",
        0,
        &["floating point", "in quotes"],
    );
    refused(
        "acme.toml",
        "hit = \"0.022\"",
        "hit = 1",
        0,
        &["integer", "in quotes"],
    );
    refused(
        "acme.toml",
        "hit = \"0.022\"",
        "hit = \"-1\"",
        0,
        &["`-1` is not a price"],
    );
    refused(
        "acme.toml",
        "hit = \"0.022\", ",
        "",
        0,
        &["missing field `hit`", "per million"],
    );
}

#[test]
fn an_instant_needs_its_zone_and_a_day_has_none() {
    refused(
        "acme.toml",
        "known = 2026-04-24T00:00:00Z",
        "known = 2026-04-24",
        0,
        &["no instant", "2026-08-16T16:00:00Z"],
    );
    refused(
        "acme.toml",
        "valid_from = 2026-01-01",
        "valid_from = 2026-01-01T00:00:00Z",
        0,
        &["no day", "2026-11-24"],
    );
}

#[test]
fn a_holiday_beyond_the_known_days_is_refused() {
    refused(
        "calendars/china.toml",
        "    2026-10-01,",
        "    2027-10-01,",
        0,
        &["later than `known_until`"],
    );
}

#[test]
fn a_name_with_a_slash_or_space_is_refused() {
    refused(
        "models.toml",
        "name = \"deepseek-chat\"",
        "name = \"deepseek/chat\"",
        0,
        &["no name", "lower-case"],
    );
    refused(
        "acme.toml",
        "tag = \"soc2\"",
        "tag = \"SOC 2\"",
        0,
        &["no name"],
    );
}

#[test]
fn an_alias_of_a_name_in_use_is_refused() {
    refused(
        "models.toml",
        "name = \"pro\"",
        "name = \"deepseek-v4-pro\"",
        0,
        &["names something already"],
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_at_its_line() {
    refused("acme.toml", "title = \"Acme\"", "title = ", 0, &[]);
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_refused() {
    let mut world = world();
    world.insert("odd.toml".to_owned(), "answer = 42\n".to_owned());
    let problems = problems(world);
    assert_eq!(
        (problems[0].file.as_str(), problems[0].line),
        ("odd.toml", 1)
    );
    assert!(problems[0].message.contains("host = \"name\""));
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_lines() {
    let mut world = world();
    let text = world.get_mut("acme.toml").expect("acme");
    *text = text
        .replace("calendar = \"china\"", "calendar = \"chile\"")
        .replace("id = \"acme/v4-pro\"", "id = \"\"");
    let lines: Vec<usize> = problems(world).iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.is_sorted());
}

#[test]
fn completions_need_an_address_and_it_is_a_path_below_the_hosts() {
    let capabilities = "capabilities = [\"tools\", \"thinking\"]";
    refused_row(
        capabilities,
        "capabilities = [\"fim\"]",
        "id = \"acme/v4-pro\"",
        &["has no address for completions"],
    );
    let address = "base_url = \"https://api.acme.example/v1\"";
    for wrong in ["", "/completions", "https://x/y", "../up", "a b"] {
        let row = format!("{address}\ncompletions = \"{wrong}\"");
        refused("acme.toml", address, &row, 1, &["is no path below"]);
    }
}

#[test]
fn quirks_are_words_of_the_book_and_touch_nothing_of_ours() {
    for (quirk, words) in [
        (
            "thinking = \"sometimes\"",
            ["sometimes", "reasoning_effort"],
        ),
        ("thinks = true", ["thinks", "thinking"]),
        ("effort = { lots = \"x\" }", ["lots", "max"]),
        ("tool_choice = [\"any\"]", ["any", "required"]),
        ("fields = { model = \"other\" }", ["model", "leave it out"]),
        (
            "refused_fields = [\"messages\"]",
            ["messages", "leave it out"],
        ),
        (
            "headers = { Authorization = \"Bearer x\" }",
            ["authorization", "auth"],
        ),
        ("headers = { \"a b\" = \"x\" }", ["no header", "value"]),
        (
            "prefix_base = \"ftp://x.example\"",
            ["ftp://x.example", "https://"],
        ),
    ] {
        refused(
            "acme.toml",
            "[cache]\n",
            &format!("[quirks]\n{quirk}\n\n[cache]\n"),
            1,
            &words,
        );
    }
}

#[test]
fn an_operators_endpoint_keeps_the_path_of_completions_that_the_host_has() {
    let mut world = world();
    let acme = world.get_mut("acme.toml").expect("acme");
    *acme = acme
        .replace(
            "base_url = \"https://api.acme.example/v1\"",
            "operator_sets_url = true\ncompletions = \"completions\"",
        )
        .replace("[\"tools\", \"thinking\"]", "[\"completions\"]");
    world.insert(
        "mine.toml".into(),
        "extends = \"acme\"\n[[endpoint]]\nregion = \"global\"\nbase_url = \"http://10.0.0.1/v1\"\n\
         jurisdiction = \"SE\"\nsource = \"us\"\nread = 2026-11-24\n"
            .into(),
    );
    let catalog = load(world).expect("a catalog");
    let endpoint = &catalog.hosts["acme"].endpoints[0];
    assert_eq!(endpoint.completions.as_deref(), Some("completions"));
    assert!(endpoint.base_url.is_some());
    let can = catalog.hosts["acme"].offers[0].capabilities;
    assert!(can.completions && !can.fim);
}

#[test]
fn a_deployment_sets_quirks_again_and_leaves_the_others() {
    let mut world = world();
    let acme = world.get_mut("acme.toml").expect("a file");
    *acme = acme.replace(
        "[cache]\n",
        "[quirks]\nthinking = \"unsettled\"\nmax_stop = 4\ntenant_field = \"salt\"\n\n[cache]\n",
    );
    world.insert(
        "mine.toml".to_owned(),
        "extends = \"acme\"\n[quirks]\nthinking = \"deepseek\"\ntenant_field = \"\"\n".to_owned(),
    );
    let catalog = load(world).expect("it is right");
    let quirks = &catalog.hosts["acme"].quirks;
    assert_eq!(quirks.thinking, crate::catalog::ThinkingControl::Deepseek);
    assert_eq!((quirks.max_stop, &quirks.tenant_field), (Some(4), &None));
}
