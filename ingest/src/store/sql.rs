//! Statements that stand in a `.sql` file, each under its name, found when the program is
//! compiled.

/// What follows `head` in `file` up to the next statement's head, `-- name: `.
pub(in crate::store) const fn statement(file: &'static str, head: &str) -> &'static str {
    let (bytes, head) = (file.as_bytes(), head.as_bytes());
    let mut at = 0;
    while at + head.len() <= bytes.len() {
        if matches(bytes, at, head) {
            let start = at + head.len();
            let mut end = start;
            while end < bytes.len() && !matches(bytes, end, b"-- name: ") {
                end += 1;
            }
            return file.split_at(end).0.split_at(start).1;
        }
        at += 1;
    }
    panic!("no statement of this name in the file")
}

const fn matches(bytes: &[u8], at: usize, wanted: &[u8]) -> bool {
    let mut offset = 0;
    while offset < wanted.len() {
        if at + offset >= bytes.len() || bytes[at + offset] != wanted[offset] {
            return false;
        }
        offset += 1;
    }
    true
}
