//! What every cost model and every specification must do; the laws of larger and smaller are in `laws.rs`.

use sartor_hardware::{
    Accelerator, CostTable, HardwareError, LayerKey, MODELS, layers_csv, profile_layers_csv,
};
use sartor_space::{Layer, networks};

/// Parts are added in another order than the total.
const ROUNDING: f64 = 1e-9;

fn chips() -> Vec<Accelerator> {
    Accelerator::presets().map(|name| Accelerator::preset(name).unwrap()).collect()
}

fn layer(shape: [usize; 7], weight_bits: u8, activation_bits: u8) -> Layer {
    let [in_channels, out_channels, input_size, kernel, stride, padding, groups] = shape;
    let first = false;
    let key = LayerKey {
        in_channels,
        out_channels,
        input_size,
        kernel,
        stride,
        padding,
        groups,
        weight_bits,
        activation_bits,
        first,
    };
    key.layer("layer")
}

/// Pointwise, dense, depthwise, fully connected.
const SHAPES: [[usize; 7]; 5] = [
    [16, 96, 112, 1, 1, 0, 1],
    [64, 64, 56, 3, 1, 1, 1],
    [96, 96, 112, 3, 2, 1, 96],
    [960, 960, 7, 7, 1, 3, 960],
    [1280, 1000, 1, 1, 1, 0, 1],
];

#[test]
fn every_model_has_a_specification_and_a_name_of_its_own() {
    let mut names: Vec<_> = MODELS.iter().map(|model| model.name()).collect();
    for name in &names {
        assert!(chips().iter().any(|chip| chip.model == *name), "{name} has no specification");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), MODELS.len());
}

#[test]
fn costs_are_positive_and_their_parts_add_up() {
    for chip in chips() {
        for shape in SHAPES {
            let cost = chip.price_layer(&layer(shape, 8, 8)).unwrap();
            let name = format!("{} {shape:?}", chip.name);
            assert!(cost.cycles.0 > 0 && cost.latency.0 > 0.0 && cost.energy.0 > 0.0, "{name}");
            assert_eq!(cost.cycles, cost.compute_cycles + cost.stall_cycles, "{name}");
            assert!((cost.energy_parts.total().0 / cost.energy.0 - 1.0).abs() < ROUNDING, "{name}");
            assert_eq!(cost.latency, cost.cycles.at(chip.clock_mhz), "{name}");
        }
    }
}

#[test]
fn tables_equal_their_model() {
    let network = networks::fixed("mobilenet-v2", 8, 8).unwrap();
    for chip in chips() {
        let table = CostTable::build(&chip, &network.layers).unwrap();
        for layer in &network.layers {
            let (cost, row) = (chip.price_layer(layer).unwrap(), table.get(layer).unwrap());
            assert_eq!((cost.cycles, cost.latency, cost.energy), (row.cycles, row.latency_ms, row.energy_mj));
        }
    }
}

#[test]
fn hashes_change_with_every_number() {
    for name in Accelerator::presets() {
        let text = Accelerator::preset_toml(name).unwrap();
        let hash = Accelerator::preset(name).unwrap().hash();
        for line in text.lines().filter(|line| line.contains(" = ") && !line.contains('"')) {
            let (key, value) = line.split('#').next().unwrap().split_once(" = ").unwrap();
            let number: f64 = value.trim().parse().unwrap();
            let (halved, doubled) = (number / 2.0, number * 2.0 + f64::from(u8::from(number == 0.0)));
            let other = [doubled, halved].into_iter().find_map(|other| {
                Accelerator::from_toml(&text.replace(line, &format!("{key} = {other}"))).ok()
            });
            assert_ne!(other.unwrap_or_else(|| panic!("{name} {line}")).hash(), hash, "{name} {line}");
        }
    }
}

#[test]
fn bad_specifications_are_refused_with_a_hint() {
    let text = Accelerator::preset_toml("bitfusion-apq").unwrap();
    let error = |from: &str, to: &str| Accelerator::from_toml(&text.replacen(from, to, 1)).unwrap_err();
    let unknown = error("weight_kib", "weigth_kib");
    assert_eq!(unknown.hint().unwrap(), "did you mean `buffers.weight_kib`?");
    assert!(error("[clock]", "[clocks]").to_string().contains("`clocks`"));
    assert!(error("frequency_mhz = 500", "frequency_mhz = 0").to_string().contains("above 0"));
    assert!(error("rows_units = 16", "rows_units = -4").to_string().contains("rows_units"));
    assert!(
        error("energy_pj_per_bit = 15", "energy_pj_per_bit = nan").to_string().contains("energy_pj_per_bit")
    );
    assert!(error("input_kib = 32", "").to_string().contains("lacks `buffers.input_kib`"));
    assert!(
        error("model = \"bitfusion-apq\"", "model = \"bitfusion-apx\"")
            .hint()
            .unwrap()
            .contains("bitfusion-apq")
    );
    assert!(matches!(error("name =", "name"), HardwareError::SpecSyntax { .. }));
    assert!(Accelerator::preset("bitfusion").unwrap_err().hint().is_some());
    assert!(Accelerator::preset("bitfusion-apq").unwrap().with_batch(0).is_err());
}

#[test]
fn what_the_chip_cannot_run_is_refused() {
    let chip = Accelerator::preset("bitfusion-apq").unwrap();
    let full = chip.price_layer(&layer(SHAPES[0], 32, 32)).unwrap_err();
    assert!(full.hint().unwrap().contains("quantization policy"), "{full}");
    for shape in [[0, 8, 8, 1, 1, 0, 1], [8, 8, 8, 1, 0, 0, 1], [8, 8, 2, 7, 1, 0, 1], [8, 9, 8, 3, 1, 1, 8]]
    {
        let error = chip.price_layer(&layer(shape, 8, 8)).unwrap_err();
        assert!(matches!(error, HardwareError::ImpossibleLayer { .. }), "{error}");
    }
    let text =
        Accelerator::preset_toml("bitfusion-apq").unwrap().replace("output_kib = 16", "output_kib = 1");
    let small = Accelerator::from_toml(&text.replace("columns_units = 32", "columns_units = 1024")).unwrap();
    let error = small.price_layer(&layer(SHAPES[1], 8, 8)).unwrap_err();
    assert!(matches!(error, HardwareError::TileDoesNotFit { .. }), "{error}");
}

#[test]
fn lists_of_layers_survive_their_own_text() {
    let layers = networks::fixed("resnet-18", 4, 8).unwrap().layers;
    let read = profile_layers_csv(&layers_csv(&layers)).unwrap();
    let keys = |layers: &[Layer]| layers.iter().map(LayerKey::of).collect::<Vec<_>>();
    assert_eq!(keys(&read), keys(&layers));
}

#[test]
fn bad_tables_are_refused_with_their_line() {
    let header = "in_channels,out_channels,input_size,kernel,stride,padding,groups,weight_bits,activation_bits,cycles,latency_ms,energy_mj";
    let row = "16,96,112,1,1,0,1,4,4,405622,0.811244,1.3691566";
    let cases = [
        (format!("{header}\n{row}\n{row}"), "line 3: a second row"),
        (format!("{header}\n{}", row.replace("0.811244", "-1")), "line 2: latency_ms is -1"),
        (format!("{header}\n{}", row.replace("1.3691566", "NaN")), "line 2: energy_mj is NaN"),
        (format!("# units: cycles, us, mJ\n{header}\n{row}"), "line 1: the table is in `cycles, us, mJ`"),
        (format!("{}\n{row}", header.replace("latency_ms", "latency_us")), "line 1: expected the columns"),
        (format!("{header}\n{}", row.replace("16,96", "x,96")), "in_channels must be"),
        (format!("{header}\n16,96"), "12 cells"),
        (String::new(), "expected the columns"),
    ];
    for (text, expected) in cases {
        let error = CostTable::from_csv(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert_eq!(CostTable::from_csv(&format!("{header}\n{row}\n")).unwrap().rows().len(), 1);
}
