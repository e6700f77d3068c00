//! The corruption sweep: damages to a golden store, one at a time, each judged by what a reader then sees.
//!
//! 1. A [`golden`] store has everything, and what it holds after each of its writes is known as a [`picture`].
//! 2. Each [`damage`] is done to a copy of it.
//! 3. The [`oracle`] compares what is seen: the same, an error, or less where the losses say so. Anything else is silent.
#![allow(dead_code, reason = "the sweep and the planted mistakes use one part each")]

pub(crate) mod damage;
pub(crate) mod golden;
pub(crate) mod oracle;
pub(crate) mod picture;
pub(crate) mod run;
