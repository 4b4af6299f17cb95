//! Several units behind one address.

use super::*;

#[tokio::test]
async fn the_units_of_an_address_share_one_connection_whatever_their_ids() {
    // Each unit holds its own id, so that one that is taken for another shows.
    let name_itself: Change = |frame| {
        let id = frame[6];
        frame[9..].fill(id);
    };
    let plc = Plc::start(move |_| Act::Changed(name_itself)).await;
    let ids = [0u8, 1, 2, 254, 255];
    let devices: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(
                "[[modbus.device]]\nname = \"unit-{id}\"\nunit = {id}\nasset = \"press-1\"\ninterval = \"20ms\"\n\
                 signals = [ {{ name = \"of-{id}\", metric = \"x_{id}\", at = \"holding:10\", type = \"u16\" }} ]\n"
            )
        })
        .collect();
    let mut rig = rig(&plc.address, &devices.concat());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        for (name, raw) in rig.next().await {
            let id: u16 = name.strip_prefix("of-").unwrap().parse().unwrap();
            assert_eq!(raw, word(id << 8 | id));
            seen.insert(id);
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ids.map(u16::from));
    assert_eq!(plc.connections(), 1);
}
