//! Predictions of many photos: tables that can be resumed, and folders by class.
//!
//! | to change | file |
//! |---|---|
//! | what a row holds, and the formats of tables | `table.rs` |
//! | tables in files: new, whole, resumed | `file.rs`, `resume.rs` |
//! | Parquet | `columns.rs` |
//! | which paths a table has | `path_set.rs` |
//! | what a resumed table must have been made with | `settings.rs` |
//! | copies of photos, or links to them, in folders by class | `sorter.rs`, `folder_names.rs` |

pub(crate) mod columns;
pub(crate) mod file;
pub(crate) mod folder_names;
pub(crate) mod path_set;
pub(crate) mod resume;
pub(crate) mod settings;
pub(crate) mod sorter;
pub(crate) mod table;
