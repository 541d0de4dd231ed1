//! The part of a split that a name refers to: of a folder, a table, a column, or a cell.

/// A part of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Train,
    Valid,
    Test,
}

impl Role {
    /// The purpose of its images, for people.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Role::Train => "training",
            Role::Valid => "validation",
            Role::Test => "test",
        }
    }

    /// The usual name of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Train => "train",
            Role::Valid => "valid",
            Role::Test => "test",
        }
    }
}

/// Common names of the parts of a split. Those that are not certain have other meanings as well, and count
/// only beside a folder for training.
const WORDS: [(&str, Role, Sure); 54] = [
    ("train", Role::Train, true),
    ("training", Role::Train, true),
    ("trainval", Role::Train, true),
    ("trn", Role::Train, false),
    ("valid", Role::Valid, true),
    ("val", Role::Valid, true),
    ("validation", Role::Valid, true),
    ("validate", Role::Valid, true),
    ("validating", Role::Valid, true),
    ("dev", Role::Valid, false),
    ("test", Role::Test, true),
    ("testing", Role::Test, true),
    ("tst", Role::Test, false),
    // Where there is no other, evaluation comes last, as in Food-11.
    ("eval", Role::Test, false),
    ("evaluation", Role::Test, false),
    ("holdout", Role::Test, false),
    ("heldout", Role::Test, false),
    ("unseen", Role::Test, false),
    // FER2013's, whose public test images its contest was tuned on.
    ("publictest", Role::Valid, true),
    ("privatetest", Role::Test, true),
    ("trainingsdaten", Role::Train, true),
    ("validierungsdaten", Role::Valid, true),
    ("validierung", Role::Valid, true),
    ("testdaten", Role::Test, true),
    ("entrainement", Role::Train, true),
    ("entraînement", Role::Train, true),
    ("entrenamiento", Role::Train, true),
    ("validacion", Role::Valid, true),
    ("validación", Role::Valid, true),
    ("prueba", Role::Test, false),
    ("treinamento", Role::Train, true),
    ("treino", Role::Train, false),
    ("validacao", Role::Valid, true),
    ("validação", Role::Valid, true),
    ("teste", Role::Test, false),
    ("addestramento", Role::Train, true),
    ("训练", Role::Train, true),
    ("训练集", Role::Train, true),
    ("验证", Role::Valid, true),
    ("验证集", Role::Valid, true),
    ("测试", Role::Test, true),
    ("测试集", Role::Test, true),
    ("обучение", Role::Train, true),
    ("обучающая", Role::Train, true),
    ("валидация", Role::Valid, true),
    ("тест", Role::Test, true),
    ("тестовая", Role::Test, true),
    ("学習", Role::Train, true),
    ("訓練", Role::Train, true),
    ("検証", Role::Valid, true),
    ("テスト", Role::Test, true),
    ("훈련", Role::Train, true),
    ("검증", Role::Valid, true),
    ("테스트", Role::Test, true),
];
type Sure = bool;

/// Words that may be combined with them: `training_set`, `Test images`, `traindata`.
const FILLERS: [&str; 21] = [
    "set", "sets", "data", "dataset", "subset", "split", "part", "image", "images", "img", "imgs", "photo",
    "photos", "picture", "pictures", "pics", "samples", "files", "folder", "folders", "dir",
];

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedRole {
    pub(crate) role: Role,
    /// Whether the words have no other usual meaning.
    pub(crate) sure: bool,
    /// Its other words: none in `training_set`, `seg` in `seg_train`.
    pub(crate) rest: String,
}

/// The role of a name, if one of its words is one of a split's.
pub(crate) fn named_role(name: &str) -> Option<NamedRole> {
    // As CycleGAN's data sets have them: `trainA`.
    let spaced = match name.strip_suffix(|letter: char| letter.is_ascii_uppercase()) {
        Some(word) if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            format!("{word} {}", &name[word.len()..])
        }
        _ => name.to_owned(),
    };
    let lower = spaced.to_lowercase();
    let words = lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    let (mut roles, mut rest) = (Vec::new(), Vec::new());
    for word in words {
        match role_of(word) {
            Some(role) => roles.push(role),
            None if FILLERS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit()) => {}
            None => rest.push(word),
        }
    }
    let sure = roles.iter().all(|(_, sure)| *sure);
    let role = match roles.iter().map(|(role, _)| *role).collect::<Vec<_>>()[..] {
        [role] => role,
        // As VOC has it: both are trained on.
        [Role::Train, Role::Valid] => Role::Train,
        _ => return None,
    };
    Some(NamedRole { role, sure, rest: rest.join(" ") })
}

/// The role that a text is a word for, and nothing else: `Training`, `val`, `Private Test`.
pub(crate) fn said_role(text: &str) -> Option<Role> {
    let joined = || text.chars().filter(|character| character.is_alphanumeric()).collect::<String>();
    let whole = |text: &str| named_role(text).filter(|named| named.rest.is_empty());
    whole(text).or_else(|| whole(&joined())).map(|named| named.role)
}

/// `train`, `train2`, `trainset`.
fn role_of(word: &str) -> Option<(Role, Sure)> {
    let word = word.trim_end_matches(|character: char| character.is_ascii_digit());
    let known =
        |word: &str| WORDS.iter().find(|(known, ..)| *known == word).map(|(_, role, sure)| (*role, *sure));
    known(word).or_else(|| FILLERS.iter().find_map(|filler| word.strip_suffix(filler).and_then(known)))
}

/// The roles of folders that lie side by side. A name of other words besides has one only if another folder
/// has the same other words and another role, as `seg_train` and `seg_test` have.
pub(crate) fn roles(names: &[&str]) -> Vec<Option<Role>> {
    let named: Vec<Option<NamedRole>> = names.iter().map(|name| named_role(name)).collect();
    let has_partner = |one: &NamedRole, others: &[Option<NamedRole>]| {
        let partner = |other: &NamedRole| other.rest == one.rest && other.role != one.role;
        others.iter().flatten().any(partner)
    };
    let meant: Vec<Option<NamedRole>> = named
        .iter()
        .map(|one| one.clone().filter(|one| one.rest.is_empty() || one.sure && has_partner(one, &named)))
        .collect();
    let trains = meant.iter().flatten().any(|one| one.role == Role::Train);
    let role = |one: &Option<NamedRole>| {
        let one = one.as_ref()?;
        let counts = one.sure || if one.role == Role::Train { has_partner(one, &meant) } else { trains };
        counts.then_some(one.role)
    };
    let mut roles: Vec<Option<Role>> = meant.iter().map(role).collect();
    // TensorFlow's word: beside images of a test, and no others for validation, it is these.
    let is_evaluation = |name: &str| name.to_lowercase().contains("eval");
    let tests = |(role, name): (&Option<Role>, &&str)| *role == Some(Role::Test) && !is_evaluation(name);
    if !roles.contains(&Some(Role::Valid)) && roles.iter().zip(names).any(tests) {
        for (role, _) in roles.iter_mut().zip(names).filter(|(_, name)| is_evaluation(name)) {
            *role = role.map(|role| if role == Role::Test { Role::Valid } else { role });
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_have_them() {
        let alone = |name: &str| roles(&[name])[0];
        for name in
            ["train", "Train", "TRAINING", "training_set", "Training Set", "train-set", "trainset", "Train1"]
        {
            assert_eq!(alone(name), Some(Role::Train), "{name}");
        }
        for name in ["train_images", "images.train", "train_val", "trainval", "TrainData", "training-data"] {
            assert_eq!(alone(name), Some(Role::Train), "{name}");
        }
        for name in ["valid", "Val", "VALIDATION", "validation_set", "validate", "val images", "valset"] {
            assert_eq!(alone(name), Some(Role::Valid), "{name}");
        }
        for name in ["test", "Testing", "test_set", "Test-Set", "testset", "test1", "test images"] {
            assert_eq!(alone(name), Some(Role::Test), "{name}");
        }
        for name in [
            "trains",
            "trainer",
            "station",
            "latest",
            "valley",
            "contest",
            "attested",
            "testes",
            "dev",
            "eval",
            "trn",
            "bullet train",
            "train test",
            "data",
            "images",
            "cats",
            "",
            "validity",
            "evaluation",
        ] {
            assert_eq!(alone(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_understood_together() {
        use Role::{Test, Train, Valid};
        assert_eq!(roles(&["trn", "val"]), [Some(Train), Some(Valid)]);
        assert_eq!(roles(&["train", "dev", "tst"]), [Some(Train), Some(Valid), Some(Test)]);
        assert_eq!(roles(&["training", "validation", "evaluation"]), [Some(Train), Some(Valid), Some(Test)]);
        assert_eq!(roles(&["seg_pred", "seg_test", "seg_train"]), [None, Some(Test), Some(Train)]);
        assert_eq!(roles(&["asl_alphabet_test", "asl_alphabet_train"]), [Some(Test), Some(Train)]);
        assert_eq!(roles(&["bus", "bullet train", "smoke test"]), [None, None, None]);
    }
}
