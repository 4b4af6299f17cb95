//! Every page of the console in a real Chromium: `tests/browser/pages.mjs` says what is asked of each.

use std::path::{Path, PathBuf};
use std::process::Command;

use sandan_tests::harness::{PATIENCE, wait_for};
use sandan_tests::plcsim::ModbusDevice;
use sandan_tests::plcsim::fault::Fault;
use sandan_tests::plcsim::machine::Make;
use serde_json::json;

use crate::world::{FIRM, World, browse, plant, used};

/// Where the pictures are put, to be looked at.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots")
}

/// Debian's, or the one that is named.
fn chromium() -> String {
    std::env::var("SANDAN_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into())
}

/// The cookie of a browser that signed in with a token.
fn signed_in(world: &World, token: &str) -> String {
    let told = browse(world.ingest.http(), "POST /sign-in", "", &format!("token={token}")).unwrap();
    told.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()).unwrap().to_owned()
}

#[test]
fn every_page_holds_on_a_phone_and_at_a_desk_in_both_languages_with_and_without_scripts() {
    let world = World::new();
    let makes = [("PLC-1", Make::Press), ("PLC-3", Make::Furnace)];
    let endpoints = makes.iter().map(|(name, make)| vec![ModbusDevice::new(name, 1, *make)]).collect();
    let plant = plant(endpoints, Vec::new());
    let uses = vec![used(&plant, "PLC-1", "press"), used(&plant, "PLC-3", "furnace")];
    let mut gateway = world.gateway("press-hall", uses);
    gateway.start().unwrap();
    world.ingest.add_gateway(&format!("{FIRM}/new-hall")).unwrap();

    let add = |args: &[&str]| world.ingest.command(args).unwrap().trim().to_owned();
    let operator = add(&["operator", "add", "--name", "관제실 김하늘"]);
    let alliance = add(&["operator", "add", "--name", "연합", "--role", "alliance"]);
    let member = world.ingest.add_member(FIRM, "이서준").unwrap().trim().to_owned();
    let cookie = signed_in(&world, &operator);
    let page = |path: &str| browse(world.ingest.http(), &format!("GET {path}"), &cookie, "").unwrap();
    let of_hall = format!("/gateways/{FIRM}/press-hall");
    wait_for("both devices to be up", PATIENCE, || {
        (page(&format!("{of_hall}?lang=en")).matches(">up<").count() == 2
            || page(&format!("{of_hall}?lang=en")).matches("</span> up</span>").count() == 2)
            .then_some(())
    })
    .unwrap();
    // Somebody is to be called, and somebody is on it.
    let form = page(&of_hall);
    let token = form.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (to, fields) in [
        ("contact", "part=firm&name=%EB%B0%95%EB%AF%BC%EC%88%98&phone=010-1234-5678"),
        ("contact", "part=installer&name=Sesol+Electric&phone=02-123-4567"),
        ("care", "kind=visit&words=%ED%95%84%ED%84%B0+%EA%B5%90%EC%B2%B4"),
        ("care", "kind=on_it"),
    ] {
        let told =
            browse(world.ingest.http(), &format!("POST {of_hall}/{to}"), &cookie, &format!("csrf={token}&{fields}"));
        assert!(told.unwrap().starts_with("HTTP/1.1 303"), "{to} {fields}");
    }
    plant.fault("PLC-3", Fault::Absent).unwrap();
    wait_for("the dead device on the page", PATIENCE, || {
        page("/?lang=en").contains("PLC-3 has not answered").then_some(())
    })
    .unwrap();

    let call = "href=\"tel:01012345678\"";
    let plan = json!({
        "base": format!("http://{}", world.ingest.http()),
        "chromium": chromium(),
        "pictures": pictures(),
        "secrets": { "operator": operator, "member": member, "alliance": alliance },
        "pages": [
            { "name": "sign-in", "as": "nobody", "path": "/sign-in", "ko": ["로그인"], "en": ["Sign in"] },
            { "name": "officer", "as": "nobody", "path": "/officer", "ko": ["데이터 책임자"], "en": ["data officer"] },
            { "name": "now", "as": "operator", "path": "/", "ko": ["2대 중 1대 정상", "봐 주세요", call], "en": ["1 of 2 current.", "needs you", call] },
            { "name": "gateway", "as": "operator", "path": of_hall, "ko": ["PLC-3", "처리 중", call], "en": ["PLC-3", "is on it", call] },
            { "name": "account", "as": "operator", "path": "/account", "ko": ["비밀번호"], "en": ["password"] },
            { "name": "own-now", "as": "member", "path": "/", "ko": ["한빛금형"], "en": ["Hanbit Mould"] },
            { "name": "own-gateway", "as": "member", "path": of_hall, "ko": ["PLC-3"], "en": ["PLC-3"] },
            { "name": "not-mine", "as": "alliance", "path": of_hall, "status": 403, "ko": ["다른 역할"], "en": ["another role"] },
            { "name": "alliance", "as": "alliance", "path": "/account", "ko": ["연합 관리자"], "en": ["alliance administrator"] },
        ],
    });
    let file = world.dir().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/pages.mjs");
    let ended = Command::new("node").arg(&script).arg(&file).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}{err}");
    let seen: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(seen["seen"], 9 * 2 * 2 * 2, "each page on each screen, in each language, in both ways");
    assert!(gateway.terminate().unwrap().success());
}
