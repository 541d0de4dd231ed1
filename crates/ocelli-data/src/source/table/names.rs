//! The usual names of a table's columns.
//!
//! Names are compared without case, spaces, `_`, `-`, `.` and `/`: `Image Index`, `image_index` and
//! `ImageIndex` are one.

use crate::source::role::{self, Role};

/// Columns of files, those that say so most plainly first.
const FILES: [&str; 47] = [
    "filename",
    "file",
    "filepath",
    "path",
    "imagepath",
    "imagefile",
    "imagefilename",
    "imagename",
    "image",
    "images",
    "imageid",
    "imageindex",
    "img",
    "imgname",
    "imgid",
    "imgpath",
    "imgfile",
    "photo",
    "photoid",
    "photoname",
    "picture",
    "filenames",
    "idcode",
    "fname",
    "id",
    "uuid",
    "key",
    "name",
    "dateiname",
    "datei",
    "bild",
    "bilddatei",
    "fichier",
    "nomdufichier",
    "archivo",
    "imagen",
    "arquivo",
    "imagem",
    "immagine",
    "nomefile",
    "bestand",
    "afbeelding",
    "файл",
    "文件名",
    "图片",
    "ファイル名",
    "画像",
];

/// Columns of labels.
const LABELS: [&str; 77] = [
    "scientificname",
    "commonname",
    "vernacularname",
    "taxon",
    "taxonname",
    "speciesname",
    "speciesid",
    "choice",
    "choices",
    "klasse",
    "klassen",
    "kategorie",
    "spezies",
    "beschriftung",
    "bezeichnung",
    "etikett",
    "classe",
    "catégorie",
    "étiquette",
    "etiquette",
    "espèce",
    "clase",
    "categoría",
    "categoria",
    "etiqueta",
    "especie",
    "espécie",
    "etichetta",
    "klass",
    "klasa",
    "kategori",
    "kategoria",
    "класс",
    "категория",
    "метка",
    "sınıf",
    "etiket",
    "类别",
    "标签",
    "ラベル",
    "라벨",
    "label",
    "labels",
    "class",
    "classes",
    "category",
    "categories",
    "target",
    "targets",
    "tag",
    "tags",
    "breed",
    "species",
    "diagnosis",
    "diagnoses",
    "dx",
    "finding",
    "findings",
    "findinglabels",
    "findinglabel",
    "labelname",
    "labelid",
    "classname",
    "classlabel",
    "classid",
    "categoryname",
    "categoryid",
    "targetname",
    "tagname",
    "imagelabel",
    "imageclass",
    "groundtruth",
    "annotation",
    "annotations",
    "kind",
    "variety",
    "y",
];

/// Columns that say on which side of the split an image is.
const SPLITS: [&str; 13] = [
    "split",
    "set",
    "subset",
    "partition",
    "phase",
    "dataset",
    "usage",
    "fold",
    "kfold",
    "folds",
    "cvfold",
    "foldid",
    "kfoldid",
];

/// Columns whose images belong together, those around others first: lesions are of a patient.
const GROUPS: [&str; 82] = [
    "patient",
    "patientid",
    "patientno",
    "patientnumber",
    "subject",
    "subjectid",
    "participant",
    "participantid",
    "person",
    "personid",
    "donor",
    "donorid",
    "animalid",
    "individual",
    "individualid",
    "caseid",
    "slideid",
    "lesion",
    "lesionid",
    "plantid",
    "seqid",
    "sequenceid",
    "patientennr",
    "mrn",
    "studyinstanceuid",
    "seriesinstanceuid",
    "studyid",
    "animal",
    "specimen",
    "specimenid",
    "examid",
    "burstid",
    "videoid",
    "clipid",
    "writer",
    "writerid",
    "speaker",
    "speakerid",
    "original",
    "originalimage",
    "sourceimage",
    "orig",
    "parent",
    "parentid",
    "patientennummer",
    "patientenid",
    "patnr",
    "paciente",
    "sujet",
    "fallnummer",
    "case",
    "slide",
    "well",
    "plate",
    "sampleid",
    "mouse",
    "mouseid",
    "video",
    "clip",
    "track",
    "trackid",
    "sequence",
    "burst",
    "observationid",
    "deployment",
    "board",
    "wafer",
    "lot",
    "carid",
    "treeid",
    "tree",
    "productid",
    "itemid",
    "eventid",
    "eyeid",
    "sceneid",
    "scene",
    "locationid",
    "study",
    "idpaciente",
    "idpatient",
    "pacienteid",
];

/// Columns of numbers and times that say something else of photos than what they show: when, how large. Words in them may be
/// classes: `large` of `size`, `night` of `time`.
const NUMBERS: [&str; 31] = [
    "date",
    "time",
    "datetime",
    "timestamp",
    "created",
    "createdat",
    "modified",
    "year",
    "month",
    "day",
    "width",
    "height",
    "size",
    "filesize",
    "bytes",
    "resolution",
    "blur",
    "age",
    "temperature",
    "weight",
    "price",
    "humidity",
    "distance",
    "altitude",
    "speed",
    "duration",
    "volume",
    "count",
    "depth",
    "length",
    "iso",
];

/// Columns that say something else of photos than what they show, whatever is in them: by whom, where from.
const OTHERS: [&str; 41] = [
    "md5",
    "sha1",
    "sha256",
    "hash",
    "checksum",
    "phash",
    "license",
    "licence",
    "copyright",
    "author",
    "photographer",
    "artist",
    "owner",
    "user",
    "username",
    "userid",
    "creator",
    "uploader",
    "annotator",
    "annotatorid",
    "labeler",
    "labeller",
    "rater",
    "comment",
    "comments",
    "note",
    "notes",
    "remark",
    "remarks",
    "description",
    "caption",
    "url",
    "source",
    "latitude",
    "longitude",
    "lat",
    "lon",
    "exif",
    "camera",
    "device",
    "focallength",
];

/// A name as it is compared.
fn plain(name: &str) -> String {
    let dropped = |c: &char| !matches!(c, ' ' | '_' | '-' | '.' | '/');
    name.trim().chars().filter(dropped).flat_map(char::to_lowercase).collect()
}

/// How plainly a name says that the column holds files: 0 is most plain.
pub(super) fn file_rank(name: &str) -> Option<usize> {
    let name = plain(name);
    FILES.iter().position(|known| *known == name)
}

/// Whether a name says that the column holds images or files, not only numbers of something.
pub(super) fn says_image(name: &str) -> bool {
    let name = plain(name);
    let words =
        ["file", "fname", "path", "image", "img", "photo", "picture", "datei", "bild", "fichier", "imag"];
    file_rank(&name).is_some() && words.iter().any(|word| name.contains(word))
}

/// Whether a name says that the column tells whether a label is there.
pub(super) fn says_presence(name: &str) -> bool {
    ["confidence", "present", "ispresent", "presence", "positive", "ispositive", "value", "exists", "answer"]
        .contains(&plain(name).as_str())
}

/// Whether a name says that the column holds probabilities.
pub(super) fn says_probability(name: &str) -> bool {
    ["probability", "prob", "score", "confidence", "likelihood", "certainty"].contains(&plain(name).as_str())
}

/// Whether a name says that the column holds labels.
pub(super) fn is_label(name: &str) -> bool {
    LABELS.contains(&plain(name).as_str())
}

/// Whether a name of a column speaks of several things in a cell: `tags`, `Finding Labels`.
pub(super) fn is_plural(name: &str) -> bool {
    let name = plain(name);
    let single = ["class", "species", "diagnosis", "status", "genus", "series", "ss"];
    name.ends_with('s') && !single.iter().any(|single| name.ends_with(single))
}

/// How plainly a name says that images with the same cell belong together: 0 is most plain.
pub(super) fn group_rank(name: &str) -> Option<usize> {
    let name = plain(name);
    GROUPS.iter().position(|known| *known == name)
}

/// Whether a name says that the column holds something else of photos than what they show: `license`; or, of a column of
/// numbers, `width`.
pub(super) fn says_something_else(name: &str, of_numbers: bool) -> bool {
    let name = plain(name);
    OTHERS.contains(&name.as_str()) || of_numbers && NUMBERS.contains(&name.as_str())
}

/// Whether a name says that the column tells which rows are to be left out, or used.
pub(super) fn says_left_out(name: &str) -> bool {
    const WORDS: [&str; 47] = [
        "deleteflag",
        "validimage",
        "imagevalid",
        "imageisvalid",
        "usableimage",
        "ausschließen",
        "ausgeschlossen",
        "gelöscht",
        "löschen",
        "verwenden",
        "corrupt",
        "corrupted",
        "damaged",
        "blurry",
        "duplicate",
        "isduplicate",
        "good",
        "exclude",
        "excluded",
        "ignore",
        "ignored",
        "delete",
        "deleted",
        "drop",
        "dropped",
        "remove",
        "removed",
        "skip",
        "skipped",
        "discard",
        "discarded",
        "reject",
        "rejected",
        "keep",
        "include",
        "included",
        "use",
        "used",
        "usable",
        "approved",
        "accepted",
        "status",
        "reviewstatus",
        "invalid",
        "bad",
        "todelete",
        "trash",
    ];
    let name = plain(name);
    WORDS.contains(&name.strip_prefix("is").unwrap_or(&name)) || WORDS.contains(&name.as_str())
}

/// Whether the values of a column that is called `status` or `use` say that rows are in or out.
pub(super) fn say_left_out<'a>(name: &str, mut values: impl Iterator<Item = &'a str>) -> bool {
    const WORDS: [&str; 30] = [
        "yes", "no", "y", "n", "x", "true", "false", "0", "1", "ok", "okay", "good", "bad", "done", "todo",
        "approved", "accepted", "rejected", "pending", "review", "reviewed", "keep", "drop", "delete",
        "deleted", "exclude", "excluded", "skip", "ignore", "ja",
    ];
    let is_vague =
        ["use", "used", "status", "reviewstatus", "good", "damaged"].contains(&plain(name).as_str());
    !is_vague || values.any(|value| WORDS.contains(&plain(value).as_str()))
}

/// Whether a name says that the column holds sides of the split.
pub(super) fn is_split(name: &str) -> bool {
    let name = plain(name);
    SPLITS.contains(&name.as_str()) || name.ends_with("split")
}

/// Whether a name can mean nothing else: `split`, `fold`, where `usage` and `set` can.
pub(super) fn says_split(name: &str) -> bool {
    let name = plain(name);
    name.contains("split") || name.contains("fold") || name == "partition"
}

/// Columns around another one, in which its values may come again as those of something else: `alba` of two genera.
pub(super) fn is_around(outer: &str, inner: &str) -> bool {
    let pairs: [(&[&str], &[&str]); 3] = [
        (
            &["genus", "gattung", "genre", "género"],
            &["species", "specie", "epithet", "art", "espèce", "especie"],
        ),
        (&["make", "brand", "manufacturer", "marke"], &["model", "modell"]),
        (&["class", "category", "superclass", "mastercategory"], &["subclass", "subcategory"]),
    ];
    let (outer, inner) = (plain(outer), plain(inner));
    pairs.iter().any(|(around, within)| around.contains(&&*outer) && within.contains(&&*inner))
}

/// Whether a name says that the column corrects the labels of another: `true_label`, `corrected`.
pub(super) fn says_correction(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "truelabel",
        "trueclass",
        "finallabel",
        "finalclass",
        "corrected",
        "correctedlabel",
        "correctedclass",
        "correctlabel",
        "correctclass",
        "correction",
        "goldlabel",
        "newlabel",
        "fixedlabel",
        "reviewedlabel",
    ];
    WORDS.contains(&plain(name).as_str())
}

/// Whether a name says that the column holds somebody's judgement of the classes, or a model's: `rater1`, `y_pred`.
pub(super) fn is_judgement(name: &str) -> bool {
    let name = plain(name);
    let starts =
        ["ytrue", "ypred", "pred", "rater", "annotator", "consensus", "reader", "reviewer", "grader"];
    starts.iter().any(|start| name.starts_with(start))
}

/// What a column of 0 and 1 asks by its name: whether a row has this role.
pub(super) struct Asked {
    pub role: Role,
    /// Whether it can be nothing else: `is_test`, where `test` may be a class.
    pub sure: bool,
}

/// The role that a column's name asks for: `is_valid`, `is_training_image`, `test`, `held_out`.
pub(super) fn asked_role(name: &str) -> Option<Asked> {
    let name = plain(name);
    let asked = name.strip_prefix("is").or_else(|| name.strip_prefix("in").filter(|rest| *rest != "valid"));
    role::said_role(asked.unwrap_or(&name)).map(|role| Asked { role, sure: asked.is_some() })
}

/// Whether a name is one of those that a table's first row has when it names columns.
pub(super) fn is_known(name: &str) -> bool {
    let asks = || asked_role(name).is_some_and(|asked| asked.sure);
    file_rank(name).is_some() || is_label(name) || is_split(name) || asks()
}

/// Whether a column's name is that of a table's index: none, pandas' `Unnamed: 0`, or `index`.
pub(super) fn is_index(name: &str) -> bool {
    let name = plain(name);
    name.is_empty() || name == "index" || name == "rownames" || name.starts_with("unnamed:")
}

/// Names of tables that hold a data set's labels, without their endings, those that say so most plainly
/// first.
const TABLES: [&str; 14] = [
    "labels",
    "label",
    "trainlabels",
    "traininglabels",
    "labelstrain",
    "train",
    "training",
    "metadata",
    "trainmetadata",
    "annotations",
    "traindata",
    "groundtruth",
    "data",
    "images",
];

/// Whether a table's name, without its ending, says that it holds labels: `labels`, `my_labels`, `annotations`.
pub(super) fn says_labels(stem: &str) -> bool {
    let name = plain(stem);
    ["label", "annotation", "groundtruth", "classes", "diagnos"].iter().any(|word| name.contains(word))
}

/// Whether a name says that the column holds something about a photo that is rarely learned beside classes of its own: how
/// it was taken, of whom.
pub(super) fn says_circumstances(name: &str) -> bool {
    const WORDS: [&str; 40] = [
        "sex",
        "gender",
        "quality",
        "view",
        "viewposition",
        "position",
        "occluded",
        "occlusion",
        "truncated",
        "score",
        "confidence",
        "checked",
        "reviewed",
        "verified",
        "location",
        "place",
        "site",
        "hospital",
        "country",
        "city",
        "region",
        "weather",
        "season",
        "scanner",
        "machine",
        "operator",
        "side",
        "laterality",
        "pose",
        "angle",
        "orientation",
        "format",
        "modality",
        "model",
        "lens",
        "exposure",
        "flash",
        "batch",
        "title",
        "link",
    ];
    let name = plain(name);
    WORDS.contains(&name.as_str()) || NUMBERS.contains(&name.as_str())
}

/// Whether a name says that the column holds what a model has predicted.
pub(super) fn says_predicted(name: &str) -> bool {
    let name = plain(name);
    name == "pred" || name == "preds" || name == "ypred" || name == "yhat" || name.starts_with("predict")
}

/// Whether a table's name, without its ending, says that it corrects another.
pub(super) fn says_corrected(stem: &str) -> bool {
    let name = plain(stem);
    ["correct", "fix", "relabel", "revis", "updat", "changes", "cleaned", "new", "korrektur"]
        .iter()
        .any(|word| name.contains(word))
}

/// Whether columns are those that `ocelli predict` and a run's `predictions.csv` write, without a label.
pub(super) fn are_predictions(header: &[String]) -> bool {
    let has = |name: &str| header.iter().any(|column| column == name);
    let of_classes = header.iter().filter(|column| column.starts_with("probability_")).count();
    let is_table = || of_classes > 1 || header.len() == 3 && has("path") && has("class");
    // As JSON, where the probabilities of all classes are an object of their own.
    let is_json = || has("probabilities") && has("path");
    has("probability") && (is_table() || is_json()) && !has("label") && !has("labels")
}

/// How plainly a file's name, without its ending, says that it is the table of a data set's labels: 0 is most
/// plain.
pub(super) fn table_rank(stem: &str) -> Option<usize> {
    let name = plain(stem);
    TABLES.iter().position(|known| *known == name)
}

/// Names of tables that hold something else than the labels to train on.
pub(super) fn is_other_table(stem: &str) -> bool {
    let name = plain(stem);
    let parts = [
        "submission",
        "predictions",
        "prediction",
        "history",
        "split",
        "skipped",
        "decisions",
        "confusion",
        "submit",
        "solution",
        "partition",
        "patition",
        "bbox",
        "boundingbox",
        "landmark",
    ];
    let starts = ["test", "valid", "val", "sample", "lrfind", "classdict"];
    parts.iter().any(|part| name.contains(part)) || starts.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_separators() {
        assert!(is_label("Finding Labels") && is_label("class_name") && is_label("Y") && !is_label("sex"));
        assert!(file_rank("Image Index").is_some() && file_rank("FILE-NAME") < file_rank("id"));
        assert!(is_index("") && is_index("Unnamed: 0") && !is_index("id"));
        assert!(
            is_other_table("sample_submission") && is_other_table("test_labels") && !is_other_table("train")
        );
        for names in [&FILES[..], &LABELS, &SPLITS, &GROUPS, &NUMBERS, &OTHERS, &TABLES] {
            assert!(names.iter().all(|name| plain(name) == *name), "written as they are compared");
        }
    }
}
