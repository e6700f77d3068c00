//! The words and the quoted bytes of the driver contract.
#![forbid(unsafe_code)]

/// The words of a line; a quoted one keeps its quotes and spaces.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        if character == ' ' && !quoted {
            words.push(std::mem::take(&mut word));
            continue;
        }
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        word.push(character);
    }
    words.push(word);
    words
}

/// A decimal number.
pub(crate) fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("not a number: {word}"))
}

/// A decimal number or `none`.
pub(crate) fn optional(word: &str) -> Option<u64> {
    (word != "none").then(|| number(word))
}

/// The bytes of a quoted word.
pub(crate) fn unquote(word: &str) -> Vec<u8> {
    let inner = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')).expect("quoted data");
    let (mut bytes, mut rest) = (Vec::new(), inner.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect("an escaped character") {
                b'x' => {
                    let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("digits");
                    u8::from_str_radix(digits, 16).expect("hexadecimal")
                }
                other => other,
            },
            other => other,
        });
    }
    bytes
}

/// Bytes as a quoted word.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let byte = |byte: &u8| match byte {
        b'\\' => "\\\\".into(),
        b'"' => "\\\"".into(),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    format!("\"{}\"", bytes.iter().map(byte).collect::<String>())
}

/// The data of entry `index` in `driver write`.
pub(crate) fn data_of(index: u64) -> Vec<u8> {
    let length = 1 + 7919 * index % 300;
    (0..length).map(|byte| ((31 * index + 7 * byte) % 256).to_le_bytes()[0]).collect()
}
