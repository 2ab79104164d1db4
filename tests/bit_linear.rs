//! BitLinear against what PyTorch recorded (tests/reference/README.md), and as a layer beside tch's own.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ActivationQuantizer, BitLinearConfig, NormPlacement, Precision, WeightQuantizer};
use bitnet::model::{BitLinear, BitLinearOptions, Input};
use recorded::{Recorded, assert_near, bits, distance};
use tch::nn::{self, Module, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor, no_grad};

/// Every recorded combination, with the beginning of its tensors' names.
fn combinations() -> Vec<(String, BitLinearConfig)> {
    use {ActivationQuantizer as A, NormPlacement as N, WeightQuantizer as W};
    let mut all = Vec::new();
    for (weights_name, weights) in [("ternary_absmean", W::TernaryAbsmean), ("sign", W::Sign), ("none", W::None)] {
        for (activations_name, activations) in [("int8_absmax", A::Int8Absmax), ("int4_absmean", A::Int4Absmean), ("none", A::None)] {
            for (norm_name, norm) in [("inside", N::Inside), ("outside", N::Outside)] {
                let name = format!("{weights_name}/{activations_name}/{norm_name}/");
                all.push((name, BitLinearConfig { weights, activations, norm }));
            }
        }
    }
    all
}

/// A layer with the recorded parameters.
fn layer(recorded: &Recorded, quantizers: BitLinearConfig, precision: Precision) -> (VarStore, BitLinear) {
    let store = VarStore::new(Device::Cpu);
    let layer = BitLinear::new(store.root(), 24, 16, BitLinearOptions { quantizers, precision, ..Default::default() });
    for (name, mut parameter) in store.variables() {
        let source = if name == "norm.weight" { "norm_weight" } else { "weight" };
        no_grad(|| parameter.copy_(&recorded.get(source)));
    }
    (store, layer)
}

#[test]
fn the_output_and_every_gradient_are_those_of_pytorch() {
    let recorded = Recorded::open("bit_linear");
    for (case, quantizers) in combinations() {
        let (store, layer) = layer(&recorded, quantizers, Precision::Float32);
        let input = recorded.get("x").set_requires_grad(true);
        let output = layer.forward(&input);
        (&output * recorded.get("dy")).sum(Kind::Float).backward();
        let near = |found: &Tensor, name: &str| assert_near(found, &recorded.get(&format!("{case}{name}")), 2e-6, &format!("{case}{name}"));
        near(&output, "y");
        near(&output, "y_float64");
        near(&input.grad(), "dx");
        let parameters = store.variables();
        near(&parameters["weight"].grad(), "dweight");
        match quantizers.norm {
            NormPlacement::Inside => near(&parameters["norm.weight"].grad(), "dnorm_weight"),
            NormPlacement::Outside => assert_eq!(parameters.len(), 1, "{case} has a norm"),
        }
    }
}

/// What the test above relies on: the recorded numbers lie further from the next code than the roundings of any processor reach.
#[test]
fn no_rounding_moves_a_code_of_the_recorded_layers() {
    let recorded = Recorded::open("bit_linear");
    bitnet::libtorch::random::seed(1).unwrap();
    for (case, quantizers) in combinations() {
        for _ in 0..20 {
            let (store, layer) = layer(&recorded, quantizers, Precision::Float32);
            let output = no_grad(|| {
                store.variables().into_values().for_each(|mut parameter| parameter.copy_(&recorded::shaken(&parameter)));
                layer.forward(&recorded::shaken(&recorded.get("x")))
            });
            assert_near(&output, &recorded.get(&format!("{case}y")), 1e-4, &case);
        }
    }
}

#[test]
fn bfloat16_products_agree_with_float32() {
    let recorded = Recorded::open("bit_linear");
    for (case, quantizers) in combinations() {
        let (_store, layer) = layer(&recorded, quantizers, Precision::Bfloat16);
        let input = recorded.get("x").set_requires_grad(true);
        let output = layer.forward(&input);
        assert_eq!(output.kind(), Kind::BFloat16, "{case}");
        (&output * recorded.get("dy")).sum(Kind::Float).backward();
        assert_near(&output, &recorded.get(&format!("{case}y")), 1e-2, &case);
        assert_near(&input.grad(), &recorded.get(&format!("{case}dx")), 1e-2, &case);
        assert_eq!((input.grad().kind(), layer.weight().grad().kind()), (Kind::Float, Kind::Float), "{case}");
        assert_near(&layer.weight().grad(), &recorded.get(&format!("{case}dweight")), 1e-2, &case);
    }
}

#[test]
fn layers_that_share_an_input_give_what_each_gives_alone() {
    let recorded = Recorded::open("bit_linear");
    for (case, quantizers) in combinations() {
        let (_first_store, first) = layer(&recorded, quantizers, Precision::Float32);
        let (_second_store, second) = layer(&recorded, quantizers, Precision::Float32);
        let outputs = BitLinear::forward_all([&first, &second], Input::from(&recorded.get("x")));
        for output in outputs {
            assert_eq!(bits(&output), bits(&first.forward(&recorded.get("x"))), "{case}");
        }
    }
}

#[test]
fn it_takes_the_place_of_a_linear_layer_in_a_network_that_learns() {
    tch::manual_seed(3);
    bitnet::libtorch::random::seed(3).unwrap();
    let store = VarStore::new(Device::Cpu);
    let root = store.root();
    let network = nn::seq()
        .add(BitLinear::new(&root / "hidden", 8, 32, BitLinearOptions::default()))
        .add_fn(|hidden| hidden.relu())
        .add(nn::linear(&root / "out", 32, 2, Default::default()));
    let input = Tensor::randn([64, 8], (Kind::Float, Device::Cpu));
    let target = Tensor::stack(&[input.select(1, 0) * 2.0, input.select(1, 1) - input.select(1, 2)], 1);
    let before = store.variables()["hidden.weight"].detach().copy();
    let mut optimizer = nn::Adam::default().build(&store, 1e-2).unwrap();
    let mut losses = Vec::new();
    for _ in 0..100 {
        let loss = network.forward(&input).mse_loss(&target, tch::Reduction::Mean);
        optimizer.backward_step(&loss);
        losses.push(loss.double_value(&[]));
    }
    println!("from {} to {}", losses[0], losses[99]);
    assert!(losses[99] < losses[0] / 4.0, "from {} to {}", losses[0], losses[99]);
    assert!(distance(&store.variables()["hidden.weight"], &before) > 0.1);
}

#[test]
fn any_leading_axes_are_kept() {
    let store = VarStore::new(Device::Cpu);
    let layer = BitLinear::new(store.root(), 5, 3, BitLinearOptions::default());
    for shape in [&[5][..], &[1, 5], &[2, 3, 5], &[2, 1, 4, 5], &[0, 5]] {
        let output = layer.forward(&Tensor::ones(shape, (Kind::Float, Device::Cpu)));
        assert_eq!(output.size(), [&shape[..shape.len() - 1], &[3]].concat());
    }
}

#[test]
#[should_panic(expected = "does not fit rows of the shape [2, 5]")]
fn an_input_of_another_width_is_refused_and_never_read_past_its_end() {
    let store = VarStore::new(Device::Cpu);
    let layer = BitLinear::new(store.root(), 4096, 3, BitLinearOptions::default());
    let _ = layer.forward(&Tensor::ones([2, 5], (Kind::Float, Device::Cpu)));
}
