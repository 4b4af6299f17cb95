//! Units: what each quantity is written in, and how one unit becomes another.
//!
//! A table, not a parser: kVA is not kW though their dimensions are the same, and a unit
//! that nobody thought of had better be refused than guessed. Everything that is accepted
//! stands below; the tests derive each factor a second time, from the UCUM codes. Pure.

/// One unit of a quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// Its UCUM code.
    pub(super) code: &'static str,
    /// How else instruments and register maps write it.
    pub(super) also: &'static [&'static str],
    /// value in the quantity's first unit = value × factor + offset.
    pub(super) factor: f64,
    pub(super) offset: f64,
}

impl Unit {
    /// As people know it: `psi`, not `[psi]`.
    pub(super) fn shown(&self) -> &'static str {
        let is_odd = self.code.contains(['[', '{', '*']);
        self.also.first().copied().filter(|_| is_odd).unwrap_or(self.code)
    }
}

const fn unit(code: &'static str, also: &'static [&'static str], factor: f64) -> Unit {
    Unit { code, also, factor, offset: 0.0 }
}

/// Every quantity with its units. Only units of one quantity are converted into each other.
pub(super) const QUANTITIES: &[&[Unit]] = &[
    // A pure number is not a percentage: a counter in % is a mistake.
    &[unit("1", &["ea", "EA", "pcs", "count", "개", "회"], 1.0)],
    &[unit("%", &["percent", "％"], 1.0), unit("[ppm]", &["ppm"], 1e-4)],
    &[unit("[pH]", &["pH", "ph"], 1.0)],
    &[
        unit("Cel", &["℃", "°C", "degC", "C"], 1.0),
        Unit { code: "[degF]", also: &["°F", "℉", "degF", "F"], factor: 5.0 / 9.0, offset: -160.0 / 9.0 },
        Unit { code: "K", also: &[], factor: 1.0, offset: -273.15 },
    ],
    &[
        unit("K/min", &["Cel/min", "℃/min", "°C/min"], 1.0),
        unit("K/s", &["Cel/s", "℃/s", "°C/s"], 60.0),
        unit("K/h", &["Cel/h", "℃/h", "°C/h"], 1.0 / 60.0),
    ],
    &[
        unit("Pa", &["㎩"], 1.0),
        unit("hPa", &["㍱"], 100.0),
        unit("mbar", &[], 100.0),
        unit("kPa", &["㎪"], 1e3),
        unit("MPa", &["㎫"], 1e6),
        unit("N/mm2", &["N/mm²", "N/㎟"], 1e6),
        unit("bar", &[], 1e5),
        unit("kgf/cm2", &["kg/cm2", "kgf/cm²", "kg/cm²", "kgf/㎠", "kg/㎠", "㎏f/㎠"], 98_066.5),
        unit("[psi]", &["psi", "PSI"], 6_894.757_293_168_361),
        unit("mm[Hg]", &["mmHg", "Torr", "torr"], 133.322),
        unit("mm[H2O]", &["mmH2O", "mmAq"], 9.806_65),
    ],
    &[
        unit("N", &[], 1.0),
        unit("daN", &[], 10.0),
        unit("kN", &["㎻"], 1e3),
        unit("MN", &[], 1e6),
        unit("kgf", &["㎏f"], 9.806_65),
        unit("10*3.kgf", &["tf", "tonf"], 9_806.65),
        unit("[lbf_av]", &["lbf"], 4.448_221_615_260_5),
    ],
    &[
        unit("N.m", &["Nm", "N·m"], 1.0),
        unit("kN.m", &["kNm", "kN·m"], 1e3),
        unit("kgf.m", &["kgf·m"], 9.806_65),
        unit("kgf.cm", &["kgf·cm"], 0.098_066_5),
    ],
    &[
        unit("W", &[], 1.0),
        unit("kW", &["㎾"], 1e3),
        unit("MW", &["㎿"], 1e6),
        unit("[HP]", &["HP", "hp"], 745.699_871_582_270_2),
    ],
    &[unit("V.A", &["VA"], 1.0), unit("kV.A", &["kVA"], 1e3), unit("MV.A", &["MVA"], 1e6)],
    // UCUM has no var; what stands in braces tells reactive from apparent power.
    &[
        unit("V.A{reactive}", &["var", "VAr", "Var", "VAR"], 1.0),
        unit("kV.A{reactive}", &["kvar", "kVAr", "kVar", "kVAR"], 1e3),
        unit("MV.A{reactive}", &["Mvar", "MVAr", "MVar", "MVAR"], 1e6),
    ],
    &[
        unit("J", &[], 1.0),
        unit("kJ", &[], 1e3),
        unit("MJ", &[], 1e6),
        unit("GJ", &[], 1e9),
        unit("W.h", &["Wh", "W·h"], 3_600.0),
        unit("kW.h", &["kWh", "kW·h", "㎾h"], 3.6e6),
        unit("MW.h", &["MWh", "MW·h", "㎿h"], 3.6e9),
    ],
    &[
        unit("V.A{reactive}.h", &["varh", "VArh", "VARh"], 1.0),
        unit("kV.A{reactive}.h", &["kvarh", "kVArh", "kVARh"], 1e3),
        unit("MV.A{reactive}.h", &["Mvarh", "MVArh", "MVARh"], 1e6),
    ],
    &[unit("V", &[], 1.0), unit("mV", &["㎷"], 1e-3), unit("kV", &["㎸"], 1e3)],
    &[unit("A", &[], 1.0), unit("mA", &["㎃"], 1e-3), unit("kA", &["㎄"], 1e3)],
    &[
        unit("Ohm.cm", &["Ω·cm", "Ωcm"], 1.0),
        unit("kOhm.cm", &["kΩ·cm", "kΩcm"], 1e3),
        unit("MOhm.cm", &["MΩ·cm", "MΩcm"], 1e6),
        unit("Ohm.m", &["Ω·m", "Ωm"], 100.0),
    ],
    &[unit("uS/cm", &["µS/cm", "μS/cm"], 1.0), unit("mS/cm", &[], 1e3), unit("S/m", &[], 1e4), unit("mS/m", &[], 10.0)],
    &[unit("A.h", &["Ah", "A·h"], 1.0), unit("A.min", &["A·min"], 1.0 / 60.0), unit("kA.h", &["kAh", "kA·h"], 1e3)],
    &[
        unit("A/dm2", &["A/dm²", "ASD"], 1.0),
        unit("A/m2", &["A/m²", "A/㎡"], 0.01),
        unit("A/cm2", &["A/cm²", "A/㎠"], 100.0),
        unit("mA/cm2", &["mA/cm²", "mA/㎠"], 0.1),
    ],
    &[unit("Hz", &["㎐"], 1.0), unit("kHz", &["㎑"], 1e3), unit("MHz", &["㎒"], 1e6)],
    &[
        unit("/min", &["rpm", "RPM", "r/min", "1/min", "min-1", "spm", "SPM"], 1.0),
        unit("/s", &["rps", "1/s", "s-1"], 60.0),
        unit("/h", &["1/h", "h-1"], 1.0 / 60.0),
    ],
    &[
        unit("m/s", &["㎧"], 1.0),
        unit("mm/s", &["㎜/s"], 1e-3),
        unit("m/min", &["mpm"], 1.0 / 60.0),
        unit("cm/min", &["cpm"], 0.01 / 60.0),
        unit("mm/min", &["㎜/min"], 1e-3 / 60.0),
        unit("[in_i]/min", &["in/min", "ipm"], 0.0254 / 60.0),
    ],
    &[unit("m/s2", &["m/s²", "㎨"], 1.0), unit("mm/s2", &["mm/s²"], 1e-3), unit("[g]", &["g", "G"], 9.806_65)],
    &[
        unit("mm", &["㎜"], 1.0),
        unit("um", &["µm", "μm", "㎛"], 1e-3),
        unit("cm", &["㎝"], 10.0),
        unit("m", &[], 1e3),
        unit("[in_i]", &["in", "inch"], 25.4),
        unit("[mil_i]", &["mil"], 0.0254),
    ],
    &[unit("deg", &["°"], 1.0), unit("rad", &["㎭"], 57.295_779_513_082_32)],
    &[unit("kg", &["㎏"], 1.0), unit("g", &[], 1e-3), unit("t", &[], 1e3), unit("[lb_av]", &["lb"], 0.453_592_37)],
    &[
        unit("kg/h", &["㎏/h"], 1.0),
        unit("kg/min", &["㎏/min"], 60.0),
        unit("kg/s", &["㎏/s"], 3_600.0),
        unit("t/h", &[], 1e3),
    ],
    &[
        unit("m3", &["㎥", "m³", "Nm3", "Nm³", "N㎥"], 1.0),
        unit("l", &["L", "ℓ"], 1e-3),
        unit("ml", &["mL", "㎖", "cc"], 1e-6),
    ],
    // Normal volumes are taken as the volumes that they are: a meter has one reference.
    &[
        unit("m3/h", &["㎥/h", "m³/h", "CMH", "Nm3/h", "Nm³/h", "N㎥/h"], 1.0),
        unit("m3/min", &["㎥/min", "m³/min", "CMM", "Nm3/min", "Nm³/min", "N㎥/min"], 60.0),
        unit("m3/s", &["㎥/s", "m³/s"], 3_600.0),
        unit("l/h", &["L/h", "ℓ/h"], 1e-3),
        unit("l/min", &["L/min", "ℓ/min", "LPM", "lpm", "NL/min"], 0.06),
        unit("l/s", &["L/s", "ℓ/s"], 3.6),
        unit("ml/min", &["mL/min", "㎖/min", "cc/min"], 6e-5),
    ],
    &[
        unit("s", &["sec", "초"], 1.0),
        unit("ms", &["msec", "㎳"], 1e-3),
        unit("min", &["분"], 60.0),
        unit("h", &["hr", "시간"], 3_600.0),
        unit("d", &["day", "일"], 86_400.0),
    ],
    &[
        unit("g/l", &["g/L", "g/ℓ"], 1.0),
        unit("mg/l", &["mg/L", "mg/ℓ"], 1e-3),
        unit("kg/m3", &["kg/m³", "㎏/㎥"], 1.0),
        unit("mg/m3", &["mg/m³", "㎎/㎥", "mg/Nm3", "mg/Sm3"], 1e-6),
    ],
    &[unit("kJ/cm", &[], 1.0), unit("J/cm", &[], 1e-3), unit("kJ/mm", &[], 10.0), unit("J/mm", &[], 0.01)],
];

/// The quantity of a UCUM code of the table; each code stands in it once.
pub(super) fn quantity(code: &str) -> Option<&'static [Unit]> {
    QUANTITIES.iter().copied().find(|units| units.iter().any(|unit| unit.code == code))
}

/// From one unit to another: value × factor + offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conversion {
    pub(super) factor: f64,
    pub(super) offset: f64,
}

/// What a value in `given` needs to become one in `wanted`, a UCUM code of the table. The
/// outer `None`: they are not of one quantity; the inner one: nothing, they are one unit.
#[allow(clippy::option_option, reason = "refused and nothing to do are two answers")]
pub(super) fn conversion(given: &str, wanted: &str) -> Option<Option<Conversion>> {
    let units = quantity(wanted)?;
    let from = units.iter().find(|unit| unit.code == given || unit.also.contains(&given))?;
    let to = units.iter().find(|unit| unit.code == wanted)?;
    if from == to {
        return Some(None);
    }
    let (factor, offset) = (from.factor / to.factor, (from.offset - to.offset) / to.factor);
    Some(Some(Conversion { factor: plain(factor), offset: plain(offset) }))
}

/// A product of decimal factors without the noise of its multiplication: 0.0001, which
/// 0.1 × 0.001 is not quite. A number that is no short decimal stays as it is.
pub(super) fn plain(number: f64) -> f64 {
    /// Two roundings, one of each factor, and one of the product.
    const NOISE: f64 = 4.0 * f64::EPSILON;
    let short = format!("{number:.11e}").parse().unwrap_or(number);
    if (short - number).abs() <= NOISE * number.abs() { short } else { number }
}

#[cfg(test)]
mod tests;
