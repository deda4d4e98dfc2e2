//! Rendering: values in, strings out.

pub mod guide;
pub mod handover;
pub mod html;
pub mod ics;
pub mod kubeconfigs;
pub mod manual;
pub mod prometheus;
pub mod rotation;
pub mod text;
