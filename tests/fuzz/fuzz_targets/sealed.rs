//! Runs the target `sealed` under libFuzzer.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| tollgate_fuzz::target("sealed")(data));

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    // Half of the time its own bytes, half of the time ours, which keep JSON and checksums whole.
    if seed % 2 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, most);
    }
    let mutated = tollgate_fuzz::mutated_for("sealed", u64::from(seed), &data[..size]);
    let kept = mutated.len().min(most);
    data[..kept].copy_from_slice(&mutated[..kept]);
    kept
});
