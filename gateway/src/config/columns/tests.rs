use super::*;

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => float.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::Date => "date".into(),
        Value::List(list) => format!("{:?}", list.iter().map(|node| shown(&node.value)).collect::<Vec<_>>()),
        Value::Table(table) => {
            format!("{:?}", table.iter().map(|(key, entry)| (key, shown(&entry.node.value))).collect::<Vec<_>>())
        }
    }
}

#[test]
fn heads_are_found_as_people_write_them() {
    let key = |head: &str| match Column::of(head) {
        Column::Key(key, _) => key,
        Column::Remark => "for people",
        Column::Unknown => "unknown",
    };
    for (head, wanted) in [
        ("name", "name"),
        ("이름", "name"),
        ("신호 명", "name"),
        ("주소(Modbus)", "at"),
        ("Address", "at"),
        ("데이터 타입", "type"),
        ("Data Type", "type"),
        ("단위 [SI]", "unit"),
        ("units", "units"),
        ("배율", "scale"),
        ("on_change", "on_change"),
        ("On Change", "on_change"),
        ("비고", "for people"),
        ("No.", "for people"),
        ("#anything", "for people"),
        ("", "for people"),
        ("colour", "unknown"),
    ] {
        assert_eq!(key(head), wanted, "{head}");
    }
}

#[test]
fn cells_are_read_as_toml_would_have_them() {
    let read = |text: &str, kind| shown(&value(&Cell { text: text.into(), at: 0 }, kind, 7));
    for (text, kind, wanted) in [
        ("007", Kind::Text, "\"007\""),
        ("0.1", Kind::Number, "0.1"),
        (".5", Kind::Number, "0.5"),
        ("-1,234.5", Kind::Number, "-1234.5"),
        ("1,000", Kind::Number, "1000"),
        ("0,1", Kind::Number, "\"0,1\""),
        ("1/10", Kind::Number, "0.1"),
        ("×0.01", Kind::Number, "0.01"),
        ("0x7FFF", Kind::Number, "0x7FFF"),
        ("nan", Kind::Number, "\"nan\""),
        ("warm", Kind::Number, "\"warm\""),
        ("1 %", Kind::NumberOrText, "\"1 %\""),
        ("예", Kind::Flag, "true"),
        ("X", Kind::Flag, "false"),
        ("0~100", Kind::List, "[\"0\", \"100\"]"),
        ("-50..1300", Kind::List, "[\"-50\", \"1300\"]"),
        ("[0x7FFF, \"nan\"]", Kind::List, "[\"0x7FFF\", \"\\\"nan\\\"\"]"),
        ("0x7FFF; nan", Kind::List, "[\"0x7FFF\", \"\\\"nan\\\"\"]"),
        ("0=정지; 1=운전", Kind::Table, "[(\"0\", \"\\\"정지\\\"\"), (\"1\", \"\\\"운전\\\"\")]"),
        ("0:1, 1:0.1", Kind::Table, "[(\"0\", \"1\"), (\"1\", \"0.1\")]"),
        ("{ 0 = \"stop\" }", Kind::Table, "[(\"0\", \"\\\"stop\\\"\")]"),
        ("[1, 2", Kind::List, "\"[1, 2\""),
    ] {
        assert_eq!(read(text, kind), wanted, "{text}");
    }
}
