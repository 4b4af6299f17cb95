//! Payloads, written field by field: varints, and bytes with their length before them.

/// A metric to be published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric {
    name: Option<String>,
    alias: Option<u64>,
    at_ms: Option<u64>,
    datatype: Option<u32>,
    is_historical: bool,
    is_null: bool,
    value: Vec<u8>,
}

impl Metric {
    /// A number of 64 bits with a point.
    pub fn double(name: &str, value: f64) -> Self {
        Self::new(name, 10, with(varint(13 << 3 | 1), &value.to_le_bytes()))
    }

    /// An integer in the wide field; the code is of its type.
    pub fn long(name: &str, datatype: u32, value: u64) -> Self {
        Self::new(name, datatype, with(varint(11 << 3), &varint(value)))
    }

    /// An integer in the narrow field; the code is of its type.
    pub fn int(name: &str, datatype: u32, value: u32) -> Self {
        Self::new(name, datatype, with(varint(10 << 3), &varint(value.into())))
    }

    /// Yes or no.
    pub fn bool(name: &str, value: bool) -> Self {
        Self::new(name, 11, with(varint(14 << 3), &[value.into()]))
    }

    /// A text.
    pub fn text(name: &str, value: &str) -> Self {
        Self::new(name, 12, block(15, value.as_bytes()))
    }

    fn new(name: &str, datatype: u32, value: Vec<u8>) -> Self {
        Self { name: Some(name.into()), datatype: Some(datatype), value, ..Self::default() }
    }

    /// Beside its name, as in a birth.
    #[must_use]
    pub fn with_alias(self, alias: u64) -> Self {
        Self { alias: Some(alias), ..self }
    }

    /// Instead of its name and type, as in data.
    #[must_use]
    pub fn under_alias(self, alias: u64) -> Self {
        Self { name: None, datatype: None, alias: Some(alias), ..self }
    }

    /// Captured then.
    #[must_use]
    pub fn at(self, at_ms: u64) -> Self {
        Self { at_ms: Some(at_ms), ..self }
    }

    /// It tells what was.
    #[must_use]
    pub fn historical(self) -> Self {
        Self { is_historical: true, ..self }
    }

    /// There is no value.
    #[must_use]
    pub fn null(self) -> Self {
        Self { is_null: true, value: Vec::new(), ..self }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.name.iter().flat_map(|name| block(1, name.as_bytes())));
        for (field, number) in [(2, self.alias), (3, self.at_ms), (4, self.datatype.map(u64::from))] {
            bytes.extend(number.iter().flat_map(|number| with(varint(field << 3), &varint(*number))));
        }
        for (field, flag) in [(5, self.is_historical), (7, self.is_null)] {
            if flag {
                bytes.extend(with(varint(field << 3), &[1]));
            }
        }
        bytes.extend(&self.value);
        bytes
    }
}

/// A payload: when it is sent, its number, its metrics.
pub fn payload(sent_ms: Option<u64>, seq: Option<u8>, metrics: &[Metric]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(sent_ms.iter().flat_map(|sent| with(varint(1 << 3), &varint(*sent))));
    bytes.extend(metrics.iter().flat_map(|metric| block(2, &metric.encoded())));
    bytes.extend(seq.iter().flat_map(|seq| with(varint(3 << 3), &varint((*seq).into()))));
    bytes
}

/// A field of bytes, with their length before them.
fn block(field: u64, bytes: &[u8]) -> Vec<u8> {
    with(with(varint(field << 3 | 2), &varint(bytes.len() as u64)), bytes)
}

fn with(mut first: Vec<u8>, then: &[u8]) -> Vec<u8> {
    first.extend_from_slice(then);
    first
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
