//! Objects as the API server keeps them in etcd: protobuf behind four bytes, or JSON
//! (`apimachinery/pkg/runtime/serializer/protobuf`).

use serde_json::Value;

const MAGIC: &[u8] = b"k8s\0";

/// The uid of a stored object; `None` if it is encrypted or of no form that is known.
pub fn stored_uid(stored: &[u8]) -> Option<String> {
    let uid = if let Some(message) = stored.strip_prefix(MAGIC) {
        // `runtime.Unknown.raw` (2), the object's `metadata` (1), `ObjectMeta.uid` (5).
        let metadata = field(field(message, 2)?, 1)?;
        String::from_utf8(field(metadata, 5)?.to_vec()).ok()?
    } else {
        let object: Value = serde_json::from_slice(stored).ok()?;
        object["metadata"]["uid"].as_str()?.to_owned()
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (!uid.is_empty() && uid.bytes().all(fits)).then_some(uid)
}

/// The content of the first field with this number that has a length.
fn field(mut message: &[u8], number: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                varint(&mut message)?;
            },
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (content, rest) = message.split_at_checked(length)?;
                if tag >> 3 == number {
                    return Some(content);
                }
                message = rest;
            },
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_uid_in_both_forms() {
        let wrap = |number: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[number << 3 | 2, length], content].concat()
        };
        let metadata = [wrap(1, b"robot"), vec![0x38, 0x96, 0x01], wrap(5, b"uid-1")].concat();
        let raw = wrap(1, &metadata);
        let message = [MAGIC, &wrap(1, b"\x0a\x02v1"), &wrap(2, &raw)].concat();
        assert_eq!(stored_uid(&message).as_deref(), Some("uid-1"));
        let json = br#"{"metadata":{"uid":"uid-2"}}"#;
        assert_eq!(stored_uid(json).as_deref(), Some("uid-2"));
        for end in 0..message.len() - 1 {
            assert_eq!(stored_uid(&message[..end]), None, "{end}");
        }
        assert_eq!(stored_uid(b"k8s:enc:aescbc:v1:key1:\x00"), None);
    }
}
