//! Texts that callers carry: what was not sealed here does not open, what was sealed opens to
//! itself, and a change anywhere, or another organisation, opens nothing.

use std::path::Path;
use std::sync::OnceLock;

use tollgate::access::Pepper;
use tollgate::history::Seal;
use tollgate::id::OrganisationName;

use super::MOST_BYTES;
use super::chances::Chances;

/// A seal of a pepper of our own.
pub fn seal() -> &'static Seal {
    static SEAL: OnceLock<Seal> = OnceLock::new();
    SEAL.get_or_init(|| {
        let pepper = Pepper::load(Some(&"5e".repeat(32)), Path::new("")).expect("64 digits");
        Seal::new(&pepper)
    })
}

pub fn sealed(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let text = String::from_utf8_lossy(data);
    let ours = OrganisationName::from("acme");
    assert_eq!(seal().open(&ours, &text), None, "nobody sealed this");
    assert_eq!(seal().open(&ours, &format!("tgr1.{text}")), None);

    let carried = seal().seal(&ours, &text).expect("short enough");
    assert!(carried.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(carried.len() <= 64 + text.len() * 4 / 3 + 4);
    assert_eq!(seal().open(&ours, &carried).as_deref(), Some(&*text));
    assert_eq!(
        seal().open(&OrganisationName::from("other"), &carried),
        None
    );

    let mut chances = Chances::of(data);
    let at = chances.below(carried.len());
    assert_eq!(seal().open(&ours, &carried[..at]), None);
    let mut changed = carried.clone().into_bytes();
    let other = b"AZaz09-_.= "[chances.below(11)];
    if changed[at] != other {
        changed[at] = other;
        let changed = String::from_utf8(changed).expect("ASCII");
        assert_eq!(seal().open(&ours, &changed), None, "changed at {at}");
    }
    assert_eq!(seal().open(&ours, &format!("{carried}A")), None);
}
