//! The way from a leaf to whom one trusts.

use super::cert::Cert;

/// The longest way that is followed: no cluster has more intermediates.
const LONGEST: usize = 8;

/// A way from a leaf to a trust anchor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Way<'a> {
    /// The intermediates, from the leaf's issuer upwards; none of them is an anchor.
    pub between: Vec<&'a Cert>,
    /// The anchor that the last of them, or the leaf itself, was issued by.
    pub anchor: &'a Cert,
}

/// Finds the way from `leaf` to one of `anchors` over certificates of `others`, in whatever order these are.
///
/// `signed(cert, issuer)` tells whether the issuer's key made the certificate's signature; names are compared here, byte
/// for byte as Go does, and path lengths are kept. As for Go, every anchor ends the way, a self-signed one or not. Dates are
/// not judged.
///
/// # Errors
///
/// The certificate whose issuer is neither an anchor nor among the others.
pub fn way<'a>(
    leaf: &'a Cert,
    others: &'a [Cert],
    anchors: &'a [Cert],
    signed: &dyn Fn(&Cert, &Cert) -> bool,
) -> Result<Way<'a>, &'a Cert> {
    let mut between: Vec<&Cert> = Vec::new();
    let mut link = leaf;
    loop {
        let below = u32::try_from(between.len()).unwrap_or(u32::MAX);
        let issued = |by: &&Cert| {
            let allowed = by.path_len.is_none_or(|most| below <= most);
            allowed && by.subject == link.issuer && signed(link, by)
        };
        if let Some(anchor) = anchors.iter().find(issued) {
            return Ok(Way { between, anchor });
        }
        let new = |by: &&Cert| by.is_ca && *by != leaf && !between.contains(by);
        let next = others.iter().filter(new).find(issued);
        match next.filter(|_| between.len() < LONGEST) {
            Some(next) => {
                between.push(next);
                link = next;
            },
            None => return Err(link),
        }
    }
}
