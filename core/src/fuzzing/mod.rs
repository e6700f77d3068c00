//! What the fuzz targets call: any bytes, as they are and with what guards them made right, into the decoders and into
//! stores that are opened, read, written and opened again.
//!
//! An input of a target that opens a store begins with a few bytes of choices, which say what is made right and what stays
//! as it is; zero makes everything right. A broken promise is a panic.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "for the fuzz targets only")]

mod batch;
mod bytes;
mod footer;
mod golden;
mod manifest;
mod opening;
mod seeds;
mod segment;
mod snapshot_header;

pub use batch::batch;
pub use footer::footer;
pub use manifest::manifest;
pub use seeds::{Seed, seeds};
pub use segment::segment;
pub use snapshot_header::snapshot_header;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 5] = [
    ("batch", batch),
    ("footer", footer),
    ("manifest", manifest),
    ("segment", segment),
    ("snapshot_header", snapshot_header),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    /// Bytes that were right once: some bytes replaced, some cut out, the end cut off.
    fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
        let places = any::<prop::sample::Index>;
        (vec((places(), any::<u8>()), 0..6), option::weighted(0.2, (places(), 1..64usize)), places()).prop_map(
            move |(replaced, cut_out, end)| {
                let mut damaged = bytes.clone();
                for (place, byte) in replaced {
                    let place = place.index(damaged.len());
                    damaged[place] = byte;
                }
                if let Some((place, count)) = cut_out {
                    let start = place.index(damaged.len());
                    damaged.drain(start..damaged.len().min(start + count));
                }
                // Half of them stay whole.
                let end = end.index(damaged.len() * 2 + 1);
                damaged.truncate(end.max(1));
                damaged
            },
        )
    }

    /// Nothing that a store is put through is out of the fuzzer's reach.
    #[test]
    fn the_seeds_of_each_target_go_to_every_depth() {
        for (target, run) in TARGETS {
            opening::REACHED.set([0; 3]);
            for (_, _, bytes) in seeds().iter().filter(|(of, ..)| *of == target) {
                run(bytes);
            }
            let reached = opening::REACHED.get();
            // A batch is in no store, and a store with any footer is not written to.
            let expected = match target {
                "batch" => [false, false, false],
                "footer" => [false, true, true],
                _ => [true, true, true],
            };
            assert_eq!(reached.map(|count| count > 0), expected, "{target}: {reached:?}");
        }
    }

    fn damaged_fields(fields: &[golden::Field]) -> impl Strategy<Value = Vec<u8>> + use<> {
        damaged(golden::bytes(fields))
    }

    fn damaged_seed() -> impl Strategy<Value = (usize, Vec<u8>)> {
        let seeds = seeds();
        any::<prop::sample::Index>().prop_flat_map(move |index| {
            let (target, _, bytes) = &seeds[index.index(seeds.len())];
            let target = TARGETS.iter().position(|(name, _)| name == target).expect("a seed is one of a target");
            (Just(target), damaged(bytes.clone()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..1000)) {
            batch(&bytes);
        }

        #[test]
        fn no_damage_makes_a_decoder_panic(batch in damaged_fields(&golden::batch())) {
            super::batch(&batch);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_damage_breaks_a_store((target, bytes) in damaged_seed()) {
            TARGETS[target].1(&bytes);
        }
    }
}
