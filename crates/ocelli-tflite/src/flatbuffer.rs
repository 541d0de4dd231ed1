//! Tables of FlatBuffers as bytes, and back: <https://flatbuffers.dev/internals/>.

use std::borrow::Cow;

/// Something that a field or a list refers to.
#[derive(Debug, Clone, PartialEq)]
pub enum Object<'a> {
    /// Fields with their places.
    Table(Vec<(usize, Field<'a>)>),
    Text(Cow<'a, str>),
    Ints(Vec<i32>),
    Floats(Vec<f32>),
    /// Aligned to 16 bytes.
    Bytes(Cow<'a, [u8]>),
    List(Vec<Object<'a>>),
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<'a> {
    I8(i8),
    U8(u8),
    Bool(bool),
    I32(i32),
    U32(u32),
    F32(f32),
    To(Object<'a>),
}

impl<'a> Object<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The bytes of a buffer with this root.
    pub fn to_bytes(&self, identifier: &[u8; 4]) -> Vec<u8> {
        let mut writer = Writer(vec![0; 4]);
        writer.0.extend(identifier);
        let root = writer.object(self);
        writer.refer(0, root);
        writer.0
    }
}

impl<'a> From<Object<'a>> for Field<'a> {
    fn from(object: Object<'a>) -> Self {
        Self::To(object)
    }
}

impl Field<'_> {
    /// Its bytes in the table; those of an offset are filled in later.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::I8(value) => value.to_le_bytes().to_vec(),
            Self::U8(value) => vec![*value],
            Self::Bool(value) => vec![u8::from(*value)],
            Self::I32(value) => value.to_le_bytes().to_vec(),
            Self::U32(value) => value.to_le_bytes().to_vec(),
            Self::F32(value) => value.to_le_bytes().to_vec(),
            Self::To(_) => vec![0; 4],
        }
    }
}

/// From front to back: what is referred to stands after what refers to it, as offsets have no sign.
struct Writer(Vec<u8>);

impl Writer {
    /// Zeros, until something `before` bytes further on is aligned.
    fn align(&mut self, before: usize, alignment: usize) {
        let length = self.0.len() + before;
        self.0.resize(length.next_multiple_of(alignment) - before, 0);
    }

    fn number(&mut self, value: usize) {
        self.0.extend((value as u32).to_le_bytes());
    }

    /// Lets the offset at `from` lead to `to`.
    fn refer(&mut self, from: usize, to: usize) {
        self.0[from..from + 4].copy_from_slice(&((to - from) as u32).to_le_bytes());
    }

    /// Writes an object and gives its place.
    fn object(&mut self, object: &Object) -> usize {
        match object {
            Object::Table(fields) => self.table(fields),
            Object::Text(text) => {
                let at = self.vector(text.len(), 4);
                self.0.extend(text.as_bytes());
                self.0.push(0);
                at
            }
            Object::Ints(values) => {
                let at = self.vector(values.len(), 4);
                values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
                at
            }
            Object::Floats(values) => {
                let at = self.vector(values.len(), 4);
                values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
                at
            }
            Object::Bytes(bytes) => {
                let at = self.vector(bytes.len(), 16);
                self.0.extend(&bytes[..]);
                at
            }
            Object::List(objects) => {
                let at = self.vector(objects.len(), 4);
                let first = self.0.len();
                self.0.resize(first + 4 * objects.len(), 0);
                for (number, object) in objects.iter().enumerate() {
                    let to = self.object(object);
                    self.refer(first + 4 * number, to);
                }
                at
            }
        }
    }

    /// The length of a vector whose elements, which follow, are aligned.
    fn vector(&mut self, length: usize, alignment: usize) -> usize {
        self.align(4, alignment);
        self.number(length);
        self.0.len() - 4
    }

    /// A table after its list of the fields' places.
    fn table(&mut self, fields: &[(usize, Field)]) -> usize {
        let slots = fields.iter().map(|(slot, _)| slot + 1).max().unwrap_or(0);
        let mut places = vec![0u16; slots];
        // The larger first, so that all are aligned.
        let mut sorted: Vec<&(usize, Field)> = fields.iter().collect();
        sorted.sort_by_key(|(_, field)| std::cmp::Reverse(field.bytes().len()));
        let mut body = vec![0; 4];
        for (slot, field) in &sorted {
            places[*slot] = body.len() as u16;
            body.extend(field.bytes());
        }
        let own = 4 + 2 * slots;
        self.align(own, 4);
        self.0.extend((own as u16).to_le_bytes());
        self.0.extend((body.len() as u16).to_le_bytes());
        places.iter().for_each(|place| self.0.extend(place.to_le_bytes()));
        body[..4].copy_from_slice(&(own as i32).to_le_bytes());
        let at = self.0.len();
        self.0.extend(&body);
        for (slot, field) in fields {
            if let Field::To(object) = field {
                let to = self.object(object);
                self.refer(at + usize::from(places[*slot]), to);
            }
        }
        at
    }
}

/// A table that is read. What is absent, or outside the bytes, is `None` or the default.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    /// The root of a buffer with this identifier.
    pub fn root(bytes: &'a [u8], identifier: &[u8; 4]) -> Option<Self> {
        (bytes.get(4..8)? == identifier).then_some(())?;
        Some(Self { bytes, at: follow(bytes, 0)? })
    }

    /// Where a field stands.
    fn place(self, slot: usize) -> Option<usize> {
        let back = i32::from_le_bytes(array(self.bytes, self.at)?);
        let places = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let length = u16::from_le_bytes(array(self.bytes, places)?);
        let entry = 4 + 2 * slot;
        (entry + 2 <= usize::from(length)).then_some(())?;
        match u16::from_le_bytes(array(self.bytes, places + entry)?) {
            0 => None,
            place => Some(self.at + usize::from(place)),
        }
    }

    pub fn i8(self, slot: usize) -> i8 {
        let value = self.place(slot).and_then(|at| array(self.bytes, at));
        value.map_or(0, i8::from_le_bytes)
    }

    pub fn i32(self, slot: usize) -> i32 {
        let value = self.place(slot).and_then(|at| array(self.bytes, at));
        value.map_or(0, i32::from_le_bytes)
    }

    pub fn f32(self, slot: usize) -> f32 {
        let value = self.place(slot).and_then(|at| array(self.bytes, at));
        value.map_or(0.0, f32::from_le_bytes)
    }

    pub fn table(self, slot: usize) -> Option<Self> {
        let at = follow(self.bytes, self.place(slot)?)?;
        Some(Self { bytes: self.bytes, at })
    }

    pub fn tables(self, slot: usize) -> Vec<Self> {
        let Some((first, length)) = self.vector(slot, 4) else { return Vec::new() };
        let places = (0..length).map_while(|number| follow(self.bytes, first + 4 * number));
        places.map(|at| Self { bytes: self.bytes, at }).collect()
    }

    pub fn ints(self, slot: usize) -> Vec<i32> {
        let Some((first, length)) = self.vector(slot, 4) else { return Vec::new() };
        (0..length)
            .map_while(|number| array(self.bytes, first + 4 * number))
            .map(i32::from_le_bytes)
            .collect()
    }

    pub fn text(self, slot: usize) -> &'a str {
        std::str::from_utf8(self.data(slot)).unwrap_or_default()
    }

    pub fn data(self, slot: usize) -> &'a [u8] {
        let vector = self.vector(slot, 1);
        vector.and_then(|(first, length)| self.bytes.get(first..first + length)).unwrap_or_default()
    }

    /// The first element of a vector, and its length.
    fn vector(self, slot: usize, element: usize) -> Option<(usize, usize)> {
        let at = follow(self.bytes, self.place(slot)?)?;
        let length = u32::from_le_bytes(array(self.bytes, at)?) as usize;
        let bytes = length.checked_mul(element)?;
        (at.checked_add(4)?.checked_add(bytes)? <= self.bytes.len()).then_some((at + 4, length))
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn follow(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(u32::from_le_bytes(array(bytes, at)?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from the description of the format, not by this file.
    #[test]
    fn bytes_are_those_of_the_format() {
        let table =
            Object::Table(vec![(0, Field::U8(7)), (2, Field::I32(-2)), (3, Object::text("ab").into())]);
        let expected: &[u8] = &[
            20, 0, 0, 0, b'T', b'E', b'S', b'T', // the root, the identifier
            12, 0, 13, 0, 12, 0, 0, 0, 4, 0, 8,
            0, // 12 bytes of places, 13 of the table; at 12, none, at 4, at 8
            12, 0, 0, 0, 254, 255, 255, 255, 8, 0, 0, 0, 7, 0, 0, 0, // back to the places; the fields
            2, 0, 0, 0, b'a', b'b', 0, // a text
        ];
        assert_eq!(table.to_bytes(b"TEST"), expected);
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_not() {
        let inner = Object::Table(vec![(1, Field::F32(0.5)), (0, Object::Ints(vec![1, -1]).into())]);
        let bytes = Object::Bytes(Cow::Borrowed(b"weights"));
        let lists = Object::List(vec![inner, Object::Table(vec![(0, bytes.into())])]);
        let table = Object::Table(vec![(4, lists.into()), (1, Field::I8(-3))]);
        let bytes = table.to_bytes(b"TEST");
        assert!(Table::root(&bytes, b"ELSE").is_none());
        let root = Table::root(&bytes, b"TEST").unwrap();
        assert_eq!((root.i8(1), root.i8(0), root.i32(9)), (-3, 0, 0));
        let tables = root.tables(4);
        assert_eq!((tables[0].f32(1), tables[0].ints(0)), (0.5, vec![1, -1]));
        assert_eq!(tables[1].data(0), b"weights");
        assert_eq!(tables[1].vector(0, 1).unwrap().0 % 16, 0);
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            let data =
                Table::root(cut, b"TEST").map(|root| root.tables(4).iter().map(|t| t.data(0).len()).sum());
            assert!(data.unwrap_or(0usize) < 8 + 7, "{length}");
        }
    }
}
