//! Chances that follow from a seed: the same input always takes the same course.

/// Marsaglia's xorshift64.
pub struct Chances(u64);

impl Chances {
    pub fn seeded(seed: u64) -> Chances {
        // Neighbouring seeds begin far apart.
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Chances((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) | 1)
    }

    /// Chances that follow from an input (FNV-1a).
    pub fn of(data: &[u8]) -> Chances {
        let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Chances::seeded(hash)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from((self.number() >> 11) % end).unwrap_or(0)
    }

    /// One time in so many.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Ways to cut so many bytes: a few places, and every place where that is not too much.
    pub fn splits(&mut self, length: usize) -> Vec<Vec<usize>> {
        let mut splits = Vec::new();
        for places in [1, 5, 40] {
            let mut cuts: Vec<usize> = (0..places).map(|_| self.below(length + 1)).collect();
            cuts.sort_unstable();
            splits.push(cuts);
        }
        if length <= 512 || self.one_in(8) {
            splits.push((0..=length).collect());
        }
        splits
    }
}

/// The pieces of `data` between the cuts, the empty ones too.
pub fn pieces<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for end in cuts.iter().copied().chain([data.len()]) {
        let end = end.clamp(start, data.len());
        pieces.push(&data[start..end]);
        start = end;
    }
    pieces
}
