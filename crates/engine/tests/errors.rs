//! Bad input is an error that names what is wrong; bad numbers are found where they arise.

mod support;

use sartor_engine::{EngineError, Executor};
use support::zoo;

type Spoil = fn(&mut support::Builder);

#[test]
fn bad_networks_are_refused() {
    let cases: [(&str, Spoil); 9] = [
        ("weights past the end", |b| b.network.layers[1].weight.offset = usize::MAX - 5),
        ("row stride below the columns", |b| b.network.layers[1].weight.row_stride = 1),
        ("channels that do not meet", |b| b.network.layers[1].in_channels += 1),
        ("even kernel", |b| {
            b.network.layers[0].convolution = sartor_engine::Convolution::Dense { kernel: 2, stride: 1 }
        }),
        ("residual from later", |b| b.network.layers[3].residual = Some(6)),
        ("skipping source", |b| b.network.layers[2].input = sartor_engine::Source::Layer(0)),
        ("no layers", |b| b.network.layers.clear()),
        ("head past the end", |b| b.network.head.input = 99),
        ("truncated parameters", |b| b.parameters.truncate(50)),
    ];
    for (name, spoil) in cases {
        let (_, mut builder, batch) = zoo().swap_remove(2);
        let images = builder.images(batch);
        spoil(&mut builder);
        let result =
            Executor::new().forward_train(&builder.network, &builder.parameters, &images, batch).map(|_| ());
        assert!(result.is_err_and(|error| error.hint().is_some()), "{name}");
    }
}

#[test]
fn wrong_lengths_and_orders_are_refused() {
    let (_, builder, batch) = zoo().swap_remove(2);
    let (network, parameters, images) = (&builder.network, &builder.parameters, builder.images(batch));
    let mut executor = Executor::new();
    let mut gradients = vec![0.0; parameters.len()];
    assert_eq!(
        executor.backward(network, parameters, &[0.0; 6], &mut gradients),
        Err(EngineError::NoForward)
    );
    assert!(executor.forward_train(network, parameters, &images[1..], batch).is_err());
    assert!(executor.forward_train(network, parameters, &[], 0).is_err());
    executor.forward_train(network, parameters, &images, batch).unwrap();
    assert!(executor.backward(network, parameters, &[0.0; 5], &mut gradients).is_err());
    assert!(executor.infer(network, parameters, &[], &images, batch).is_err());
    assert!(executor.recalibrate(network, parameters, std::iter::empty()).is_err());
}

#[test]
fn numbers_that_are_not_finite_name_their_layer() {
    let (_, mut builder, batch) = zoo().swap_remove(2);
    let images = builder.images(batch);
    let offset = builder.network.layers[4].weight.offset;
    builder.parameters[offset] = f32::NAN;
    let error =
        Executor::new().forward_train(&builder.network, &builder.parameters, &images, batch).map(|_| ());
    assert_eq!(error, Err(EngineError::NotFinite { layer: builder.network.layers[4].name.clone() }));
    let (_, builder, batch) = zoo().swap_remove(2);
    let mut executor = Executor::new();
    let logits = executor.forward_train(&builder.network, &builder.parameters, &images, batch).unwrap().len();
    let mut gradients = vec![0.0; builder.parameters.len()];
    let upstream = vec![f32::INFINITY; logits];
    let error = executor.backward(&builder.network, &builder.parameters, &upstream, &mut gradients);
    assert!(matches!(error, Err(EngineError::NotFinite { .. })));
}
