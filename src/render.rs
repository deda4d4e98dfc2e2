//! Rendering: values in, strings out.

pub mod html;
pub mod prometheus;
pub mod text;
