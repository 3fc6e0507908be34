//! Numbers that look random and are the same in every run.

/// Numbers by the method xorshift; the seed is not 0. The app `measure` has the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number from the first of these up to the second.
    pub(super) fn between(&mut self, [least, most]: [u64; 2]) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_their_range_and_reach_both_ends() {
        let mut random = Random(1);
        let numbers: Vec<u64> = (0..1000).map(|_| random.between([3, 12])).collect();
        assert_eq!((numbers.iter().min(), numbers.iter().max()), (Some(&3), Some(&12)));
        assert_ne!(numbers[..10], numbers[10..20]);
    }
}
