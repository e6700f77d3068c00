//! What it costs to copy bytes once and to checksum them once, as every log must with what is appended.
//!
//! *Warm* is memory that was used just before; *cold* was not for longer than any processor's cache remembers.

use crate::statistics::median;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::Instant;

/// Memory that is filled and then used from its beginning on: more than twice what is used lies between.
const REGION_BYTES: usize = 128 << 20;
/// What of it is copied, and then checksummed.
const USED_BYTES: usize = 16 << 20;

/// Seconds for one piece; each a median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemoryCost {
    pub(crate) copy_warm: f64,
    pub(crate) checksum_warm: f64,
    pub(crate) copy_cold: f64,
    pub(crate) checksum_cold: f64,
}

impl MemoryCost {
    /// Of pieces of so many bytes, at most 16 MiB.
    pub(crate) fn measure(bytes: usize) -> Result<MemoryCost> {
        let mut region = vec![0; REGION_BYTES];
        fastrand::Rng::with_seed(bytes as u64).fill(&mut region);
        let (copied, rest) = region.split_at(USED_BYTES);
        let mut target = vec![1; bytes];
        let mut copy = |piece: &[u8]| {
            target.copy_from_slice(piece);
            black_box(&target);
        };
        let checksum = |piece: &[u8]| {
            black_box(crc32fast::hash(piece));
        };
        let copy_cold = time_of_each(copied.chunks_exact(bytes), &mut copy)?;
        let checksum_cold = time_of_each(rest[..USED_BYTES].chunks_exact(bytes), checksum)?;
        let same = || std::iter::repeat_n(&copied[..bytes], USED_BYTES / bytes);
        Ok(MemoryCost {
            copy_warm: time_of_each(same(), copy)?,
            checksum_warm: time_of_each(same(), checksum)?,
            copy_cold,
            checksum_cold,
        })
    }

    pub(crate) fn warm(&self) -> f64 {
        self.copy_warm + self.checksum_warm
    }

    pub(crate) fn cold(&self) -> f64 {
        self.copy_cold + self.checksum_cold
    }
}

fn time_of_each<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut act: impl FnMut(&[u8])) -> Result<f64> {
    let times = pieces.map(|piece| {
        let started = Instant::now();
        act(piece);
        started.elapsed().as_secs_f64()
    });
    median(&times.collect::<Vec<_>>()).context("there is a piece")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_used_once() -> Result<()> {
        let (region, mut used) = ([1, 2, 3, 4, 5, 6], Vec::new());
        time_of_each(region.chunks_exact(2), |piece| used.extend_from_slice(piece))?;
        assert_eq!(used, region);
        assert!(time_of_each(region[..1].chunks_exact(2), |_| ()).is_err());
        Ok(())
    }

    #[test]
    fn copy_and_checksum_add_up() {
        let cost = MemoryCost { copy_warm: 1.0, checksum_warm: 2.0, copy_cold: 4.0, checksum_cold: 8.0 };
        assert_eq!((cost.warm(), cost.cold()), (3.0, 12.0));
    }
}
