//! Embedding.

mod place;
