//! Tables as Parquet: <https://parquet.apache.org/docs/file-format/>.
//!
//! What is needed of the format is little: flat columns and lists of numbers, in groups of rows, neither compressed nor
//! encoded, and a footer in Thrift's compact protocol that says where they are. The crate `parquet` would be as much work
//! for the compiler as all of the command.

use std::io::{self, Write};

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub name: String,
    pub kind: Kind,
}

/// What a column holds. All but lists may be absent in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// 64-bit floats.
    Number,
    /// Lists of 32-bit floats.
    Floats,
}

/// What a column has in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(&'a str),
    Flag(bool),
    Number(f64),
    Floats(&'a [f32]),
}

/// Writes a table, group by group.
#[derive(Debug)]
pub(crate) struct ParquetWriter<W> {
    out: W,
    position: u64,
    columns: Vec<Column>,
    /// The current group's.
    buffers: Vec<Buffer>,
    rows: u64,
    groups: Vec<Group>,
    all_rows: u64,
}

/// The values of a column in the current group.
#[derive(Debug, Clone, Default)]
struct Buffer {
    /// Those that are there, as the format has them.
    values: Vec<u8>,
    /// Booleans, until they are packed.
    flags: Vec<bool>,
    /// Whether an entry is a value.
    defined: Levels,
    /// Whether an entry continues the list of the one before.
    repeated: Levels,
}

/// Numbers that are 0 or 1, as runs of the same.
#[derive(Debug, Clone, Default)]
struct Levels {
    runs: Vec<u8>,
    last: (bool, u64),
    count: u64,
}

/// A group of rows that is written.
#[derive(Debug)]
struct Group {
    rows: u64,
    /// Where each column begins, its bytes and its entries.
    chunks: Vec<[u64; 3]>,
}

const MAGIC: &[u8; 4] = b"PAR1";
/// A group ends when it has this many bytes, or rows.
const BYTES_OF_A_GROUP: usize = 1 << 23;
const ROWS_OF_A_GROUP: u64 = 1 << 16;

impl Kind {
    /// `Type` of the format.
    fn physical(self) -> i64 {
        match self {
            Self::Flag => 0,
            Self::Floats => 4,
            Self::Number => 5,
            Self::Text => 6,
        }
    }
}

impl Levels {
    fn add(&mut self, level: bool, times: u64) {
        if level != self.last.0 {
            self.end_run();
            self.last = (level, 0);
        }
        self.last.1 += times;
        self.count += times;
    }

    fn end_run(&mut self) {
        let (level, times) = self.last;
        if times > 0 {
            number(&mut self.runs, times << 1);
            self.runs.push(u8::from(level));
        }
        self.last.1 = 0;
    }

    /// With the length before them.
    fn into_bytes(mut self) -> Vec<u8> {
        self.end_run();
        let mut bytes = (self.runs.len() as u32).to_le_bytes().to_vec();
        bytes.append(&mut self.runs);
        bytes
    }
}

impl<W: Write> ParquetWriter<W> {
    pub fn new(mut out: W, columns: Vec<Column>) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let buffers = vec![Buffer::default(); columns.len()];
        let position = MAGIC.len() as u64;
        Ok(Self { out, position, columns, buffers, rows: 0, groups: Vec::new(), all_rows: 0 })
    }

    /// Writes a row: a cell of each column, of its kind or absent.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) -> io::Result<()> {
        let mut cells = cells.into_iter();
        for buffer in &mut self.buffers {
            match cells.next().unwrap_or(Cell::Null) {
                Cell::Null => buffer.defined.add(false, 1),
                Cell::Text(text) => {
                    buffer.defined.add(true, 1);
                    buffer.values.extend((text.len() as u32).to_le_bytes());
                    buffer.values.extend(text.as_bytes());
                }
                Cell::Flag(flag) => {
                    buffer.defined.add(true, 1);
                    buffer.flags.push(flag);
                }
                Cell::Number(number) => {
                    buffer.defined.add(true, 1);
                    buffer.values.extend(number.to_le_bytes());
                }
                Cell::Floats(values) => {
                    buffer.defined.add(!values.is_empty(), values.len().max(1) as u64);
                    buffer.repeated.add(false, 1);
                    buffer.repeated.add(true, values.len().saturating_sub(1) as u64);
                    buffer.values.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                }
            }
        }
        self.rows += 1;
        let bytes: usize = self.buffers.iter().map(|buffer| buffer.values.len()).sum();
        if self.rows == ROWS_OF_A_GROUP || bytes >= BYTES_OF_A_GROUP { self.end_group() } else { Ok(()) }
    }

    /// Writes the current group: a page of each column.
    fn end_group(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut chunks = Vec::new();
        for (column, buffer) in self.columns.iter().zip(&mut self.buffers) {
            let Buffer { values, flags, defined, repeated } = std::mem::take(buffer);
            let entries = defined.count;
            let mut page = Vec::new();
            if column.kind == Kind::Floats {
                page.extend(repeated.into_bytes());
            }
            page.extend(defined.into_bytes());
            page.extend(values);
            let bits = |flags: &[bool]| flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
            page.extend(flags.chunks(8).map(bits));
            let mut header = Thrift::default();
            // A page of data; its size, twice, as it is not compressed.
            header.int(1, 0).int(2, page.len() as i64).int(3, page.len() as i64);
            // Plain values, and levels in runs.
            header.structure(5, |header| {
                header.int(1, entries as i64).int(2, PLAIN).int(3, RUNS).int(4, RUNS);
            });
            let header = header.end();
            self.out.write_all(&header)?;
            self.out.write_all(&page)?;
            let bytes = (header.len() + page.len()) as u64;
            chunks.push([self.position, bytes, entries]);
            self.position += bytes;
        }
        self.groups.push(Group { rows: self.rows, chunks });
        self.all_rows += self.rows;
        self.rows = 0;
        Ok(())
    }

    /// Hands what is complete to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the last group and the footer.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_group()?;
        let footer = self.footer();
        self.out.write_all(&footer)?;
        self.out.write_all(&(footer.len() as u32).to_le_bytes())?;
        self.out.write_all(MAGIC)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// `FileMetaData` of the format.
    fn footer(&self) -> Vec<u8> {
        let mut file = Thrift::default();
        file.int(1, 2);
        let mut schema = vec![Thrift::default()];
        schema[0].text(4, "schema").int(5, self.columns.len() as i64);
        for column in &self.columns {
            let mut element = Thrift::default();
            if column.kind == Kind::Floats {
                // A list of values that are there: a group, in it one that is repeated, in that the values.
                element.int(3, REQUIRED).text(4, &column.name).int(5, 1).int(6, LIST);
                element.structure(10, |kind| {
                    kind.structure(3, |_| {});
                });
                let (mut list, mut value) = (Thrift::default(), Thrift::default());
                list.int(3, REPEATED).text(4, "list").int(5, 1);
                value.int(1, column.kind.physical()).int(3, REQUIRED).text(4, "element");
                schema.extend([element, list, value]);
                continue;
            }
            element.int(1, column.kind.physical()).int(3, OPTIONAL).text(4, &column.name);
            if column.kind == Kind::Text {
                element.int(6, UTF8);
                element.structure(10, |kind| {
                    kind.structure(1, |_| {});
                });
            }
            schema.push(element);
        }
        file.structures(2, schema);
        file.long(3, self.all_rows as i64);
        let groups = self.groups.iter().map(|group| {
            let chunks = self.columns.iter().zip(&group.chunks).map(|(column, [at, bytes, entries])| {
                let mut chunk = Thrift::default();
                chunk.long(2, 0);
                chunk.structure(3, |data| {
                    data.int(1, column.kind.physical()).ints(2, &[PLAIN, RUNS]);
                    match column.kind {
                        Kind::Floats => data.texts(3, &[&column.name, "list", "element"]),
                        _ => data.texts(3, &[&column.name]),
                    };
                    // Not compressed.
                    data.int(4, 0).long(5, *entries as i64);
                    data.long(6, *bytes as i64).long(7, *bytes as i64).long(9, *at as i64);
                });
                chunk
            });
            let mut found = Thrift::default();
            found.structures(1, chunks.collect());
            let bytes: u64 = group.chunks.iter().map(|[_, bytes, _]| bytes).sum();
            found.long(2, bytes as i64).long(3, group.rows as i64);
            found
        });
        file.structures(4, groups.collect());
        file.text(6, concat!("ocelli version ", env!("CARGO_PKG_VERSION")));
        file.end()
    }
}

const PLAIN: i64 = 0;
const RUNS: i64 = 3;
const REQUIRED: i64 = 0;
const OPTIONAL: i64 = 1;
const REPEATED: i64 = 2;
const UTF8: i64 = 0;
const LIST: i64 = 3;

/// A structure in Thrift's compact protocol: fields in the order of their numbers.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
}

impl Thrift {
    fn field(&mut self, id: u8, kind: u8) {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
    }

    fn int(&mut self, id: u8, value: i64) -> &mut Self {
        self.field(id, 5);
        number(&mut self.bytes, zigzag(value));
        self
    }

    fn long(&mut self, id: u8, value: i64) -> &mut Self {
        self.field(id, 6);
        number(&mut self.bytes, zigzag(value));
        self
    }

    fn text(&mut self, id: u8, text: &str) -> &mut Self {
        self.field(id, 8);
        self.plain_text(text);
        self
    }

    fn plain_text(&mut self, text: &str) {
        number(&mut self.bytes, text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn structure(&mut self, id: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.field(id, 12);
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes.extend(inner.end());
        self
    }

    fn list(&mut self, id: u8, length: usize, kind: u8) {
        self.field(id, 9);
        match length {
            0..15 => self.bytes.push((length as u8) << 4 | kind),
            _ => {
                self.bytes.push(0xF0 | kind);
                number(&mut self.bytes, length as u64);
            }
        }
    }

    fn ints(&mut self, id: u8, values: &[i64]) -> &mut Self {
        self.list(id, values.len(), 5);
        values.iter().for_each(|value| number(&mut self.bytes, zigzag(*value)));
        self
    }

    fn texts(&mut self, id: u8, texts: &[&str]) -> &mut Self {
        self.list(id, texts.len(), 8);
        texts.iter().for_each(|text| self.plain_text(text));
        self
    }

    fn structures(&mut self, id: u8, structures: Vec<Self>) -> &mut Self {
        self.list(id, structures.len(), 12);
        structures.into_iter().for_each(|structure| self.bytes.extend(structure.end()));
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Seven bits in a byte, the lowest first.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind) -> Column {
        Column { name: name.to_owned(), kind }
    }

    /// A file that pyarrow 26, DuckDB and Polars have read as these rows: `ci/parquet.py` does with whole tables.
    #[test]
    fn a_small_table_is_the_one_that_others_read() {
        let columns = vec![
            column("path", Kind::Text),
            column("is", Kind::Flag),
            column("n", Kind::Number),
            column("features", Kind::Floats),
        ];
        let mut table = ParquetWriter::new(Vec::new(), columns).unwrap();
        table
            .row([Cell::Text("é"), Cell::Flag(true), Cell::Number(0.5), Cell::Floats(&[1.0, -2.0])])
            .unwrap();
        table.row([Cell::Null, Cell::Null, Cell::Null, Cell::Floats(&[])]).unwrap();
        table.row([Cell::Text(""), Cell::Flag(false), Cell::Number(-1.0), Cell::Floats(&[3.0])]).unwrap();
        let file = table.finish().unwrap();
        // What follows is the version of this program.
        let end = file.windows(14).position(|window| window == b"ocelli version").unwrap() - 1;
        let found: String = file[..end].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "504152311500152815282c150615001506150600000600000002010200020102000000c3a9000000001500151615162c",
            "1506150015061506000006000000020102000201011500153415342c1506150015061506000006000000020102000201",
            "000000000000e03f000000000000f0bf1500154415442c15081500150615060000080000000200020102000200060000",
            "000401020002010000803f000000c0000040401504197c4806736368656d61150800150c250218047061746825004c1c",
            "000000150025021802697300150a250218016e00350018086665617475726573150215064c3c000000350418046c6973",
            "74150200150825001807656c656d656e74001606191c194c26001c150c192500061918047061746815001606164a164a",
            "2608000026001c150019250006191802697315001606163816382652000026001c150a192500061918016e1500160616",
            "561656268a01000026001c1508192500061938086665617475726573046c69737407656c656d656e7415001608166616",
            "6626e001000016be0216060028",
        );
        assert_eq!(found, expected);
    }

    /// What is in memory is a group of rows, not the table.
    #[test]
    fn groups_are_written_as_they_become_full() {
        let mut table = ParquetWriter::new(Vec::new(), vec![column("features", Kind::Floats)]).unwrap();
        let row = vec![0.25; 1 << 18];
        for number in 1..=24 {
            table.row([Cell::Floats(&row)]).unwrap();
            assert!(table.buffers[0].values.len() < BYTES_OF_A_GROUP, "{number}");
        }
        assert_eq!((table.groups.len(), table.all_rows), (3, 24));
        let mut table = ParquetWriter::new(Vec::new(), vec![column("n", Kind::Number)]).unwrap();
        for _ in 0..=ROWS_OF_A_GROUP {
            table.row([Cell::Null]).unwrap();
        }
        assert_eq!((table.groups.len(), table.rows), (1, 1));
    }
}
