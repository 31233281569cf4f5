//! Proximity graphs over numbered entries: HNSW and Vamana.

#![forbid(unsafe_code)]
