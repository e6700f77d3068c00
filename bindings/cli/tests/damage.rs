//! What the command tells of stores that open in spite of damage: what is lost, by name and by place, once; everything else as
//! it was; and exit code 1.
#![forbid(unsafe_code)]

mod home;

use duramen::{Entry, HardState, Options, Store};
use home::{DAMAGED, Home, SOUND, complaint, expect, path_text, place_of, small_store, values};
use serde_json::{Value, json};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const FIRST: &str = "0000000000000001.seg";

/// Entries 1 to 6 of group 1 in term 2, and one of group 2, each in a batch of its own.
fn store_of_entries() -> Home {
    let home = Home::new();
    let store = Store::open(home.path()).unwrap();
    for index in 1..=6 {
        store.log(1).append(&[Entry::new(index, 2, format!("entry {index}"))]).unwrap();
    }
    store.log(2).append(&[Entry::new(1, 1, b"of another group")]).unwrap();
    store.close().unwrap();
    home
}

/// The begin of the block in which the batch lies that holds these bytes: its header.
fn header_of(bytes: &[u8], find: &[u8]) -> usize {
    place_of(bytes, find) / 4096 * 4096 + 20
}

/// The lines that `verify` prints, but for the last one, of which the store is damaged so many times.
#[track_caller]
fn verify(home: &Home) -> Vec<Value> {
    let mut lines = values(&expect(&home.run("verify", &["--json"]), DAMAGED));
    let summary = lines.pop().expect("the sum comes last");
    assert_eq!((&summary["sound"], summary["damages"].as_u64()), (&false.into(), Some(lines.len() as u64)));
    let text = expect(&home.run("verify", &[]), DAMAGED);
    assert_eq!(text.lines().count(), lines.len() + 1, "{text}");
    lines
}

/// The line of `dump --json` for a group.
#[track_caller]
fn group_line(home: &Home, group: u64) -> Value {
    values(&expect(&home.run("dump", &["--json", "--group", &group.to_string()]), DAMAGED)).swap_remove(0)
}

fn lost() -> Value {
    json!({"error": "corrupt"})
}

// ----------------------------------------------------------------------------------------------------------- entries

const DUMP: &str = r#"{"group":1,"first":1,"next":7,"entries":6,"boundary":null,"hard_state":null,"commit":null,"meta":{},"snapshot":null}
{"group":1,"index":4,"term":2,"kind":0,"data":"656e7472792034"}
{"group":1,"index":5,"term":2,"error":"corrupt"}
{"group":1,"index":6,"term":2,"kind":0,"data":"656e7472792036"}
"#;

const VERIFY_TEXT: &str = "\
0000000000000001.seg at offset 24576: batches 5..6: its bodies are damaged in part; what they did is known
group 1: entries 5..6 of term 2: 0000000000000001.seg: what was written of it is gone
DAMAGED: all batches, 7 entries and 0 snapshots of 291 bytes
";

const VERIFY: &str = r#"{"damage":"batches","file":"0000000000000001.seg","offset":24576,"first":5,"next":6,"known":true,"detail":"its bodies are damaged in part"}
{"damage":"entries","group":1,"first":5,"next":6,"term":2,"file":"0000000000000001.seg","offset":0,"detail":"what was written of it is gone"}
{"sound":false,"entries":7,"snapshots":0,"bytes":291,"damages":2}
"#;

#[test]
fn lost_entry_is_told_by_name_and_place_and_the_others_are_there() {
    let home = store_of_entries();
    home.flip("01.seg", b"entry 5");
    assert_eq!(expect(&home.run("dump", &["--json", "--group", "1", "--from", "4"]), DAMAGED), DUMP);
    let text = expect(&home.run("dump", &[]), DAMAGED);
    assert!(text.contains("  5@2 corrupt: entry 5 of group 1: ") && text.contains("  6@2 \"entry 6\"\n"), "{text}");
    assert_eq!(expect(&home.run("verify", &["--json"]), DAMAGED), VERIFY);
    assert_eq!(expect(&home.run("verify", &[]), DAMAGED), VERIFY_TEXT);
    // A group that has lost nothing is dumped as ever.
    expect(&home.run("dump", &["--group", "2"]), SOUND);
}

#[test]
fn inspect_shows_health_losses_and_damaged_places() {
    let home = store_of_entries();
    home.flip("01.seg", b"entry 5");
    let found = values(&expect(&home.run("inspect", &["--json"]), DAMAGED)).swap_remove(0);
    assert_eq!(found["groups"][0]["health"], "entries_lost");
    assert_eq!(found["groups"][0]["losses"], json!([{"lost": "entries", "first": 5, "next": 6, "term": 2}]));
    assert_eq!((&found["groups"][1]["health"], &found["groups"][1]["losses"]), (&"healthy".into(), &json!([])));
    let place = json!({
        "file": FIRST, "offset": 24576, "first": 5, "next": 6, "known": true, "detail": "its bodies are damaged in part"
    });
    assert_eq!((&found["recovery"]["damaged"], &found["lost_batches"]), (&json!([place]), &json!([])));
    let text = expect(&home.run("inspect", &[]), DAMAGED);
    for words in [
        "  damaged: 0000000000000001.seg at offset 24576: batches 5..6: ",
        "  health: entries lost\n  lost: entries 5..6 of term 2\n",
        "  health: healthy\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing in:\n{text}");
    }
}

#[test]
fn get_tells_lost_entries_from_those_that_are_there() {
    let home = store_of_entries();
    home.flip("01.seg", b"entry 5");
    let told = complaint(&home.run("get", &["5", "--group", "1"]), DAMAGED);
    assert!(
        told.contains("error 6 (corrupt)") && told.contains("entry 5 of group 1") && told.contains(FIRST),
        "{told}"
    );
    let json = expect(&home.run("get", &["5", "--group", "1", "--json"]), DAMAGED);
    assert_eq!(json, "{\"group\":1,\"index\":5,\"term\":2,\"error\":\"corrupt\"}\n");
    assert_eq!(expect(&home.run("get", &["6", "--group", "1"]), SOUND), "entry 6");
    assert_eq!(expect(&home.run("get", &["1", "--group", "2"]), SOUND), "of another group");
}

#[test]
fn header_that_is_damaged_takes_one_entry_with_it() {
    let home = store_of_entries();
    home.flip_at("01.seg", |bytes| header_of(bytes, b"entry 3"));
    let [batches, entries] = &verify(&home)[..] else { panic!("{:?}", verify(&home)) };
    assert_eq!(
        (&batches["damage"], &batches["first"], &batches["known"]),
        (&"batches".into(), &3.into(), &true.into())
    );
    let range = json!([1, 3, 4, 2]);
    assert_eq!(json!([entries["group"], entries["first"], entries["next"], entries["term"]]), range);
    let printed = expect(&home.run("dump", &["--json"]), DAMAGED);
    assert_eq!(printed.matches("\"error\"").count(), 1, "{printed}");
    assert!(printed.contains("{\"group\":1,\"index\":3,\"term\":2,\"error\":\"corrupt\"}\n"), "{printed}");
}

// ------------------------------------------------------------------------------------------------------- small state

#[test]
fn lost_state_of_a_group_is_named_where_it_would_stand() {
    for (find, key, word, words) in [
        (&b"\x02\x00\x00\x00\x00\x00\x00\x00\x09\x00"[..], "hard_state", "hard_state", "  hard state: corrupt\n"),
        (b"b\x01\x02", "meta", "metadata", "  metadata: corrupt\n"),
        (b"blob", "boundary", "boundary_blob", "  boundary: corrupt\n"),
        (b"config", "snapshot", "snapshot", "  snapshot: corrupt\n"),
    ] {
        let home = small_store();
        home.flip("01.seg", find);
        assert_eq!(group_line(&home, 1)[key], lost(), "{key}");
        let [batches, loss] = &verify(&home)[..] else { panic!("{key}: {:?}", verify(&home)) };
        assert_eq!(batches["damage"], "batches", "{key}");
        assert_eq!(*loss, json!({"damage": "loss", "group": 1, "lost": word}), "{key}");
        let found = values(&expect(&home.run("inspect", &["--json"]), DAMAGED)).swap_remove(0);
        assert_eq!(found["groups"][1]["losses"], json!([{"lost": word}]), "{key}");
        let health = if key == "hard_state" { "hard_state_lost" } else { "entries_lost" };
        assert_eq!(found["groups"][1]["health"], health, "{key}");
        let text = expect(&home.run("dump", &[]), DAMAGED);
        assert!(text.contains(words) && text.contains("  3@2 "), "{key}:\n{text}");
    }
}

#[test]
fn missing_snapshot_is_lost() {
    let home = small_store();
    let files = fs::read_dir(home.path()).unwrap().map(|item| item.unwrap().path());
    let snapshots: Vec<_> = files.filter(|path| path_text(path).ends_with(".snap")).collect();
    let [file] = &snapshots[..] else { panic!("{snapshots:?}") };
    fs::remove_file(file).unwrap();
    assert_eq!(group_line(&home, 1)["snapshot"], lost());
    assert_eq!(verify(&home), [json!({"damage": "loss", "group": 1, "lost": "snapshot"})]);
    let text = expect(&home.run("verify", &[]), DAMAGED);
    assert!(text.starts_with("group 1: lost: snapshot\nDAMAGED: "), "{text}");
    expect(&home.run("inspect", &[]), DAMAGED);
}

// ---------------------------------------------------------------------------------------------------------- segments

/// 60 entries of 4000 bytes in segments of which all but two have footers.
fn sealed_store() -> Home {
    let home = Home::new();
    let store = Options::new().segment_bytes(64 << 10).open(home.path()).unwrap();
    for index in 1..=60_u8 {
        store.log(1).append(&[Entry::new(index.into(), 1, vec![0x80 | index; 4000])]).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.stats().unwrap().sealed < 2 {
        assert!(Instant::now() < deadline, "{:?}", store.stats());
        thread::sleep(Duration::from_millis(5));
    }
    store.close().unwrap();
    home
}

#[test]
fn damaged_footer_costs_nothing() {
    let home = sealed_store();
    // The footer is the last thing in a segment.
    home.flip_at("01.seg", |bytes| bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty"));
    assert!(expect(&home.run("verify", &[]), SOUND).starts_with("sound: all batches, 60 entries"));
    expect(&home.run("inspect", &[]), SOUND);
}

#[test]
fn batch_behind_a_footer_is_found_by_verify() {
    let home = sealed_store();
    home.flip_at("01.seg", |bytes| header_of(bytes, &[0x83; 4000]));
    // Opening goes by the footer, and the entries are whole.
    expect(&home.run("inspect", &[]), SOUND);
    expect(&home.run("dump", &[]), SOUND);
    let [batches] = &verify(&home)[..] else { panic!("{:?}", verify(&home)) };
    assert_eq!(json!([batches["damage"], batches["file"], batches["known"]]), json!(["batches", FIRST, true]));
    assert_eq!((&batches["first"], &batches["next"]), (&3.into(), &4.into()));
}

#[test]
fn missing_segment_is_told_and_the_others_can_be_read() {
    let home = sealed_store();
    fs::remove_file(home.path().join("0000000000000002.seg")).unwrap();
    let found = verify(&home);
    assert!(found.iter().any(|line| line["file"] == "0000000000000002.seg"), "{found:?}");
    let printed = expect(&home.run("dump", &["--json"]), DAMAGED);
    let lines = values(&printed);
    let read = |from: u64, to: u64| {
        let indexes = lines.iter().filter(|line| line["data"].is_string()).filter_map(|line| line["index"].as_u64());
        indexes.filter(|index| (from..to).contains(index)).count()
    };
    assert_eq!((lines[0]["first"].as_u64(), lines[0]["next"].as_u64()), (Some(1), Some(61)));
    assert!(read(1, 5) == 4 && read(55, 61) == 6 && read(1, 61) < 60, "{printed}");
    // Nothing tells what the batches did that lay in it.
    assert_eq!(lines[0]["log"], lost());
    let inspected = values(&expect(&home.run("inspect", &["--json"]), DAMAGED)).swap_remove(0);
    assert_eq!(inspected["groups"][0]["health"], "unknown");
    assert_eq!(inspected["lost_batches"].as_array().map(Vec::len), Some(1));
    assert!(found.iter().any(|line| line["damage"] == "lost_batches"), "{found:?}");
    let text = expect(&home.run("inspect", &[]), DAMAGED);
    assert!(text.contains("nobody knows what they did") && text.contains("  log in doubt: "), "{text}");
}

#[test]
fn lost_votes_do_not_hide_a_sound_group() {
    let home = small_store();
    let state = HardState { term: 0x1234_5678, vote: Some(1), commit: None };
    let store = Store::open(home.path()).unwrap();
    store.log(5).set_hard_state(state).unwrap();
    store.log(6).set_hard_state(HardState { term: 7, ..state }).unwrap();
    store.close().unwrap();
    drop(store);
    home.flip("01.seg", &0x1234_5678_u64.to_le_bytes());
    assert_eq!(group_line(&home, 5)["hard_state"], lost());
    let all = expect(&home.run("dump", &["--json", "--group", "6"]), SOUND);
    assert_eq!(values(&all)[0]["hard_state"], json!({"term": 7, "vote": 1, "commit": null}));
}
