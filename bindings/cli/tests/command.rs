//! The command as a script meets it: what it prints, and the code it ends with, on stores that are sound, damaged, no
//! stores at all, or being written.
#![forbid(unsafe_code)]

mod home;

use duramen::{Batch, Entry, Log, Options, Store};
use home::{DAMAGED, Home, SOUND, command, complaint, expect, path_text, run, small_store, values};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const USAGE: i32 = 2;
const IO: i32 = 3;

const DUMP: &str = r#"{"group":0,"first":null,"next":null,"entries":0,"boundary":null,"hard_state":{"term":5,"vote":null,"commit":null},"commit":null,"meta":{},"snapshot":null}
{"group":1,"first":2,"next":4,"entries":2,"boundary":{"index":1,"term":1,"blob":"626c6f62"},"hard_state":{"term":2,"vote":9,"commit":2},"commit":2,"meta":{"a":"","b":"0102"},"snapshot":{"index":2,"term":1,"bytes":24,"config":"636f6e666967"}}
{"group":1,"index":2,"term":1,"kind":7,"data":""}
{"group":1,"index":3,"term":2,"kind":0,"data":"00ff225c"}
{"group":18446744073709551615,"first":4,"next":10,"entries":2,"boundary":null,"hard_state":null,"commit":null,"meta":{},"snapshot":null}
{"group":18446744073709551615,"index":4,"term":3,"kind":0,"data":"666f7572"}
{"group":18446744073709551615,"index":9,"term":3,"kind":0,"data":"6e696e65"}
"#;

const DUMP_TEXT: &str = r#"group 0: no entries
  hard state: term 5, vote none, commit none
group 1: 2 entries, 2..4
  boundary 1@1 "blob"
  hard state: term 2, vote 9, commit 2
  commit 2
  meta "a" = ""
  meta "b" = "\x01\x02"
  snapshot 2@1, 24 bytes, configuration "config"
  2@1 kind 7 ""
  3@2 "\x00\xff\"\\"
group 18446744073709551615: 2 entries, 4..10
  4@3 "four"
  9@3 "nine"
"#;

// ------------------------------------------------------------------------------------------------------------- dump

#[test]
fn dump_prints_all_of_a_store_to_the_letter() {
    let home = small_store();
    assert_eq!(expect(&home.run("dump", &["--json"]), SOUND), DUMP);
    assert_eq!(expect(&home.run("dump", &[]), SOUND), DUMP_TEXT);
    // An empty store has nothing to print.
    let empty = Home::new();
    Store::open(empty.path()).unwrap().close().unwrap();
    assert_eq!(expect(&empty.run("dump", &["--json"]), SOUND), "");
}

#[test]
fn dump_takes_a_group_and_a_range() {
    let home = small_store();
    let lines = |range: std::ops::Range<usize>| {
        DUMP.lines().skip(range.start).take(range.len()).map(|line| format!("{line}\n")).collect::<String>()
    };
    let dump = |arguments: &[&str]| expect(&home.run("dump", &[&["--json"], arguments].concat()), SOUND);
    assert_eq!(dump(&["--group", "1"]), lines(1..4));
    assert_eq!(dump(&["--group", "1", "--from", "3"]), lines(1..2) + &lines(3..4));
    assert_eq!(dump(&["--group", "1", "--to", "3"]), lines(1..3));
    assert_eq!(dump(&["--group", "1", "--from", "3", "--to", "3"]), lines(1..2));
    assert_eq!(dump(&["--group", "18446744073709551615", "--from", "5"]), lines(4..5) + &lines(6..7));
    assert_eq!(dump(&["--group", "2"]), "");
}

#[test]
fn dump_prints_more_than_fits_into_a_page() {
    let home = Home::new();
    let log = Log::open(home.path()).unwrap();
    let entries: Vec<_> = (1..=30).map(|index| Entry::new(index, 1, vec![7_u8; 200_000])).collect();
    log.append(&entries).unwrap();
    log.close().unwrap();
    let printed = expect(&home.run("dump", &["--json"]), SOUND);
    let indexes: Vec<_> = values(&printed).iter().skip(1).map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (1..=30).collect::<Vec<_>>());
    assert!(printed.lines().nth(1).unwrap().ends_with(&format!("{}\"}}", "07".repeat(200_000))));
}

#[test]
fn who_stops_reading_ends_it_quietly() {
    let home = Home::new();
    let log = Log::open(home.path()).unwrap();
    log.append(&[Entry::new(1, 1, vec![1; 3_000_000])]).unwrap();
    log.close().unwrap();
    for arguments in [&["dump", "--json"][..], &["get", "1"]] {
        let mut all = vec![arguments[0], ""];
        let path = home.path();
        all[1] = path_text(&path);
        all.extend(&arguments[1..]);
        let mut child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(SOUND), &b""[..]), "{arguments:?}");
    }
    // A full disk is another matter.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["dump", path_text(&home.path())]).stdout(full).output().unwrap();
    assert!(complaint(&output, IO).contains("standard output"));
}

// -------------------------------------------------------------------------------------------------------------- get

#[test]
fn get_prints_the_bytes_and_nothing_else() {
    let home = small_store();
    let output = home.run("get", &["3", "--group", "1"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(SOUND), &b"\x00\xff\"\\"[..]));
    assert_eq!(
        expect(&home.run("get", &["2", "--group", "1", "--json"]), SOUND),
        "{\"group\":1,\"index\":2,\"term\":1,\"kind\":7,\"data\":\"\"}\n"
    );
}

#[test]
fn get_tells_why_there_is_no_such_entry() {
    let home = small_store();
    for (arguments, name, words) in [
        (&["3"][..], "error 2 (not_found)", "group 0 has no entry 3"),
        (&["1", "--group", "1"], "error 3 (compacted)", "up to and including 1"),
        (&["5", "--group", "18446744073709551615"], "error 17 (hole)", "index 5"),
        (&["18446744073709551615"], "error 1 (invalid_argument)", "2^64-1"),
    ] {
        let told = complaint(&home.run("get", arguments), USAGE);
        assert!(told.contains(name) && told.contains(words) && told.contains(path_text(&home.path())), "{told}");
    }
}

// ---------------------------------------------------------------------------------------------------------- inspect

#[test]
fn inspect_shows_files_groups_and_what_opening_found() {
    let home = small_store();
    let printed = expect(&home.run("inspect", &["--json"]), SOUND);
    let [found] = &values(&printed)[..] else { panic!("{printed}") };
    assert_eq!(found["store"].as_str().unwrap().len(), 32);
    assert_eq!((&found["first_live"], &found["segments"][0]["number"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(found["segments"][0]["begun"], true);
    assert_eq!(found["segments"][0]["bytes"], 256 << 10);
    assert_eq!((&found["recovery"]["clean"], &found["recovery"]["torn"]), (&Value::from(true), &Value::Null));
    let mut groups: Vec<Value> = values(DUMP).into_iter().filter(|line| line.get("entries").is_some()).collect();
    for group in &mut groups {
        group["health"] = "healthy".into();
        group["losses"] = Value::Array(Vec::new());
    }
    assert_eq!(found["groups"], Value::from(groups));
    let text = expect(&home.run("inspect", &[]), SOUND);
    for words in ["0000000000000001.seg: 262144 bytes, batches", "opening: closed", "group 1: 2 entries, 2..4"] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
}

#[test]
fn torn_tail_is_shown_and_no_damage() {
    let home = Home::new();
    let log = Log::open(home.path()).unwrap();
    log.append(&[Entry::new(1, 1, b"whole")]).unwrap();
    log.append(&[Entry::new(2, 1, b"torn, perhaps")]).unwrap();
    let copy = Home::new();
    fs::create_dir(copy.path()).unwrap();
    // Before the segments that it counts.
    fs::copy(home.path().join("MANIFEST"), copy.path().join("MANIFEST")).unwrap();
    for name in fs::read_dir(home.path()).unwrap().map(|item| item.unwrap().file_name()) {
        if path_text(name.as_ref()).ends_with(".seg") {
            fs::copy(home.path().join(&name), copy.path().join(&name)).unwrap();
        }
    }
    copy.flip("01.seg", b"torn, perhaps");
    let text = expect(&copy.run("inspect", &[]), SOUND);
    assert!(text.contains("cut off: batch 2 in 0000000000000001.seg"), "{text}");
    let printed = expect(&copy.run("inspect", &["--json"]), SOUND);
    assert_eq!(values(&printed)[0]["recovery"]["torn"]["batch"], 2);
    assert_eq!(expect(&copy.run("get", &["1"]), SOUND), "whole");
    expect(&copy.run("verify", &[]), SOUND);
}

// ----------------------------------------------------------------------------------------------------------- verify

#[test]
fn verify_reads_everything_of_a_sound_store() {
    let home = small_store();
    let text = expect(&home.run("verify", &[]), SOUND);
    assert_eq!(text, "sound: all batches, 4 entries and 1 snapshots of 196 bytes\n");
    let json = expect(&home.run("verify", &["--json"]), SOUND);
    assert_eq!(json, "{\"sound\":true,\"entries\":4,\"snapshots\":1,\"bytes\":196,\"damages\":0}\n");
    assert!(home.run("verify", &[]).stderr.is_empty(), "there is no terminal to show progress on");
}

#[test]
fn damaged_snapshot_is_damage_and_the_entries_can_be_read() {
    let home = small_store();
    home.flip(".snap", b"the state");
    let json = expect(&home.run("verify", &["--json"]), DAMAGED);
    let [damage, summary] = &values(&json)[..] else { panic!("{json}") };
    assert_eq!(damage["damage"], "snapshot");
    assert_eq!((&damage["group"], &damage["index"], &damage["term"]), (&1.into(), &2.into(), &1.into()));
    assert!(damage["file"].as_str().unwrap().ends_with(".snap"), "{damage}");
    assert_eq!((&summary["sound"], &summary["damages"]), (&Value::from(false), &Value::from(1)));
    let text = expect(&home.run("verify", &[]), DAMAGED);
    assert!(text.contains("group 1: snapshot 2@1: ") && text.contains("DAMAGED: all batches, 4 entries"), "{text}");
    assert_eq!(expect(&home.run("dump", &["--json"]), SOUND), DUMP, "it is named by the log as before");
}

#[test]
fn damage_to_an_entry_that_was_purged_is_told_by_its_place_alone() {
    let home = small_store();
    home.flip("01.seg", b"one");
    let json = expect(&home.run("verify", &["--json"]), DAMAGED);
    let [batches, summary] = &values(&json)[..] else { panic!("{json}") };
    assert!(batches["damage"] == "batches" && batches["known"] == true, "{json}");
    assert_eq!(summary["sound"], false);
    assert!(expect(&home.run("verify", &[]), DAMAGED).contains("0000000000000001.seg"));
    assert_eq!(expect(&home.run("dump", &["--json"]), SOUND), DUMP, "nothing that is there is lost");
}

#[test]
fn store_that_cannot_be_opened_because_of_damage_is_damaged() {
    let home = small_store();
    let manifest = home.path().join("MANIFEST");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[20] ^= 1;
    bytes[4096 + 20] ^= 1;
    fs::write(&manifest, bytes).unwrap();
    for (command, arguments) in [("inspect", &[][..]), ("dump", &["--json"]), ("get", &["2", "--group", "1"])] {
        let told = complaint(&home.run(command, arguments), DAMAGED);
        assert!(told.contains("error 6 (corrupt)") && told.contains("MANIFEST"), "{told}");
    }
    let json = expect(&home.run("verify", &["--json"]), DAMAGED);
    assert_eq!((&values(&json)[0]["damage"], &values(&json)[0]["file"]), (&"store".into(), &"MANIFEST".into()));
    assert!(expect(&home.run("verify", &[]), DAMAGED).contains("the store cannot be opened: MANIFEST"));
}

// ------------------------------------------------------------------------------------------------------- exit codes

#[test]
fn bad_usage_is_told_with_code_2() {
    let home = small_store();
    let path = home.path();
    let dir = path_text(&path);
    for arguments in [
        &[][..],
        &["unknown"],
        &["dump"],
        &["dump", dir, "--group", "x"],
        &["dump", dir, "--unknown"],
        &["get", dir],
        &["get", dir, "-1"],
        &["verify", dir, dir],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("--help") && output.stdout.is_empty(), "{arguments:?}: {told}");
    }
}

#[test]
fn help_and_version_are_printed_with_code_0() {
    let version = expect(&run(&["--version"]), SOUND);
    assert_eq!(version, format!("duramen {}\n", env!("CARGO_PKG_VERSION")));
    for arguments in [&["--help"][..], &["dump", "--help"], &["verify", "--help"], &["-h"]] {
        let help = expect(&run(arguments), SOUND);
        for words in ["0  sound", "1  damaged", "2  usage", "3  io: not a store"] {
            assert!(help.contains(words), "{arguments:?}: {words} is missing in:\n{help}");
        }
    }
}

#[test]
fn what_is_not_a_store_ends_with_code_3_and_stays_as_it_is() {
    let home = Home::new();
    let absent = complaint(&home.run("inspect", &[]), IO);
    assert!(absent.contains("error 13 (not_a_store)") && absent.contains("there is no such directory"), "{absent}");
    assert!(!home.path().exists());
    fs::create_dir(home.path()).unwrap();
    for command in ["inspect", "dump", "verify"] {
        assert!(complaint(&home.run(command, &[]), IO).contains("it is empty"));
    }
    fs::write(home.path().join("notes"), "something else").unwrap();
    assert!(complaint(&home.run("get", &["1"]), IO).contains("it holds \"notes\" and no manifest"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing was created");
    let file = home.folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(complaint(&run(&["verify", path_text(&file)]), IO).contains("it is a file"));
}

#[test]
fn files_stay_as_they_are() {
    let home = small_store();
    fs::remove_file(home.path().join("LOCK")).unwrap();
    let look = || {
        let mut files: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|item| {
                let item = item.unwrap();
                (item.file_name(), item.metadata().unwrap().modified().unwrap(), fs::read(item.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let before = look();
    for (command, arguments) in [("inspect", &[][..]), ("dump", &[]), ("get", &["2", "--group", "1"]), ("verify", &[])]
    {
        expect(&home.run(command, arguments), SOUND);
    }
    assert!(look() == before);
}

// ---------------------------------------------------------------------------------------------------- a live writer

#[test]
fn all_commands_work_beside_a_live_writer() {
    let home = Home::new();
    let store = Options::new().segment_bytes(64 << 10).open(home.path()).unwrap();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for index in 1..u64::MAX {
                // Both groups in one batch: no command ever shows one without the other.
                let entry = Entry::new(index, 1, vec![index.to_le_bytes()[0]; 1000]);
                let both = [1, 2]
                    .into_iter()
                    .fold(Batch::new(), |both, group| both.log(group, |b| b.append(std::slice::from_ref(&entry))));
                store.write(both).unwrap();
                if index % 10 == 0 {
                    let both = [1, 2]
                        .into_iter()
                        .fold(Batch::new(), |both, group| both.log(group, |b| b.purge(index - 5, 1, &[])));
                    store.write(both).unwrap();
                }
                if ends.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        while store.log(1).last().unwrap().is_none() {
            thread::yield_now();
        }
        let mut dumped = 0;
        for _ in 0..40 {
            let before = store.log(1).last().unwrap().unwrap().index;
            let found = values(&expect(&home.run("inspect", &["--json"]), SOUND));
            let next = found[0]["groups"][0]["next"].as_u64().unwrap();
            assert!(next > before, "entry {before} was durable, the next one is {next}");
            assert_eq!(found[0]["groups"][1]["next"], next);
            expect(&home.run("verify", &[]), SOUND);
            let dump = home.run("dump", &["--json"]);
            match dump.status.code() {
                // What it had begun to print was given back: it says so.
                Some(IO) => assert!(complaint(&dump, IO).contains("run the command again")),
                _ => {
                    let lines = values(&expect(&dump, SOUND));
                    let entries = lines.iter().filter(|line| line["data"].is_string());
                    for line in entries {
                        let index = line["index"].as_u64().unwrap();
                        assert_eq!(line["data"], format!("{:02x}", index & 0xff).repeat(1000));
                    }
                    dumped += 1;
                }
            }
        }
        ends.store(true, Ordering::Relaxed);
        assert!(dumped > 20, "only {dumped} of 40 dumps came to their end");
    });
    assert!(store.stats().unwrap().released > 3, "{:?}", store.stats());
}
