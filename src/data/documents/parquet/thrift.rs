//! As much of Thrift's compact encoding as it takes to see, before the crate allocates anything, what a footer or the header of a page
//! promises. Owns no meaning beyond the two numbers that matter: the children of a group in the schema, and the sizes of a page.

/// So many columns and groups may a schema have, and so deep may groups lie in each other: the crate follows them by recursion.
const MAX_SCHEMA_ELEMENTS: usize = 100_000;
const MAX_SCHEMA_DEPTH: usize = 64;
/// So deep may values lie in each other.
const MAX_DEPTH: usize = 32;

const SCHEMA_FIELD: i64 = 2;
const NUM_CHILDREN_FIELD: i64 = 5;

/// Types of the compact encoding.
const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const INTEGERS: std::ops::RangeInclusive<u8> = 4..=6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Bytes that are read front to back. Every method is none where they end too early or make no sense.
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Begins at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    /// Passes `length` bytes.
    pub fn skip_bytes(&mut self, length: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    /// A number, seven bits a byte, the lowest first.
    pub fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A number whose lowest bit is its sign.
    pub fn signed(&mut self) -> Option<i64> {
        self.unsigned().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Number and type of the next field of a struct, of which `last` was the one before; type [`STOP`] at its end.
    fn field(&mut self, last: i64) -> Option<(i64, u8)> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 0x0F);
        match (kind, step) {
            (STOP, _) => Some((last, STOP)),
            (_, 0) => Some((self.signed()?, kind)),
            (_, _) => Some((last.checked_add(step)?, kind)),
        }
    }

    /// Number and type of the elements of a list.
    fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let length = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
        Some((length, byte & 0x0F)).filter(|&(length, _)| length <= self.left() as u64)
    }

    /// Passes a value of type `kind`, which is a field: its truth is in its type.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => Some(()),
            _ => self.skip_element(kind, depth),
        }
    }

    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE | BYTE => self.byte().map(|_| ()),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let length = self.unsigned()?;
                self.skip_bytes(length)
            }
            LIST | SET => {
                let (length, kind) = self.list()?;
                (0..length).try_for_each(|_| self.skip_element(kind, depth))
            }
            MAP => self.skip_map(depth),
            STRUCT => self.each_field(|compact, _, kind| compact.skip(kind, depth)),
            _ if INTEGERS.contains(&kind) => self.unsigned().map(|_| ()),
            _ => None,
        }
    }

    fn skip_map(&mut self, depth: usize) -> Option<()> {
        let length = self.unsigned()?;
        if length == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        (0..length).try_for_each(|_| {
            self.skip_element(kinds >> 4, depth)?;
            self.skip_element(kinds & 0x0F, depth)
        })
    }

    /// Gives each field of a struct, its number and type, to `take`, which passes its value.
    fn each_field(&mut self, mut take: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut last = 0;
        loop {
            let (number, kind) = self.field(last)?;
            if kind == STOP {
                return Some(());
            }
            take(self, number, kind)?;
            last = number;
        }
    }
}

/// Whether a file's metadata can be given to the crate: every length in it is within its bytes, and the schema promises as many children
/// as it has, in groups that are not too deep.
pub(super) fn is_sound_metadata(bytes: &[u8]) -> bool {
    let mut children = Vec::new();
    let read = Compact::new(bytes).each_field(|compact, number, kind| match (number, kind) {
        (SCHEMA_FIELD, LIST) => {
            children = compact.schema()?;
            Some(())
        }
        _ => compact.skip(kind, MAX_DEPTH),
    });
    read.is_some() && is_sound_schema(&children)
}

impl Compact<'_> {
    /// How many children each element of the schema promises.
    fn schema(&mut self) -> Option<Vec<i64>> {
        let (length, kind) = self.list()?;
        if kind != STRUCT || length > MAX_SCHEMA_ELEMENTS as u64 {
            return None;
        }
        (0..length).map(|_| self.schema_element()).collect()
    }

    fn schema_element(&mut self) -> Option<i64> {
        let mut children = 0;
        self.each_field(|compact, number, kind| {
            if number != NUM_CHILDREN_FIELD || !INTEGERS.contains(&kind) {
                return compact.skip(kind, MAX_DEPTH);
            }
            children = compact.signed()?;
            Some(())
        })?;
        Some(children)
    }
}

/// Whether the promises are kept: elements stand in the order of a walk through the tree, a group before its children.
fn is_sound_schema(children: &[i64]) -> bool {
    let mut missing: Vec<i64> = Vec::new();
    for (at, &promised) in children.iter().enumerate() {
        if at > 0 {
            match missing.last_mut() {
                Some(left) => *left -= 1,
                None => return false,
            }
        }
        if promised < 0 || promised > children.len() as i64 {
            return false;
        }
        if promised > 0 {
            missing.push(promised);
        }
        while missing.last() == Some(&0) {
            missing.pop();
        }
        if missing.len() > MAX_SCHEMA_DEPTH {
            return false;
        }
    }
    missing.is_empty() && !children.is_empty()
}

/// The sizes, decompressed and as it lies there, that the header of a page promises: its second and third field.
pub(super) fn page_sizes(header: &[u8]) -> Option<(i64, i64)> {
    const SECOND_AND_THIRD: [i64; 2] = [2, 3];
    let mut compact = Compact::new(header);
    let mut last = compact.field(0).filter(|&(number, _)| number == 1)?.0;
    compact.signed()?;
    let mut sizes = [0; 2];
    for (size, wanted) in sizes.iter_mut().zip(SECOND_AND_THIRD) {
        last = compact.field(last).filter(|&(number, kind)| number == wanted && INTEGERS.contains(&kind))?.0;
        *size = compact.signed()?;
    }
    Some((sizes[0], sizes[1]))
}
