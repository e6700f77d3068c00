//! ERRORS.md says what to do about every code: one section each, with the code's number and name, in the table's order.

use duramen::Code;
use std::fs;
use std::path::Path;

#[test]
fn every_code_has_its_section_and_there_is_no_other() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ERRORS.md")).unwrap();
    let expected: Vec<String> = Code::ALL.iter().map(|code| format!("{} {}", *code as i32, code.name())).collect();
    let sections: Vec<(&str, &str)> = page.split("\n## ").skip(1).map(|text| text.split_once('\n').unwrap()).collect();
    assert_eq!(sections.iter().map(|(heading, _)| *heading).collect::<Vec<_>>(), expected);
    for (heading, text) in sections {
        assert!(text.trim().lines().count() >= 2, "{heading} says nothing");
    }
}

#[test]
fn links_inside_the_page_lead_to_sections() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ERRORS.md")).unwrap();
    let links: Vec<&str> =
        page.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(page.contains(&format!("\n## {}\n", link.replacen('-', " ", 1))), "no section {link}");
    }
}
