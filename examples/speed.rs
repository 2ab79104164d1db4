use bitnet::config::*;
use bitnet::model::Decoder;
use bitnet::optimizer::Adamw;
use bitnet::train::*;
use tch::*;
fn main() {
    let precision = if std::env::args().nth(1).as_deref() == Some("f32") { Precision::Float32 } else { Precision::Bfloat16 };
    let rows: i64 = std::env::args().nth(2).map_or(64, |x| x.parse().unwrap());
    let seq: i64 = std::env::args().nth(3).map_or(64, |x| x.parse().unwrap());
    let model = ModelConfig { vocab_size: 32, hidden_size: 256, intermediate_size: 768, num_hidden_layers: 6, num_attention_heads: 4, num_key_value_heads: 4,
        max_position_embeddings: 64, rope_theta: 10000.0, rms_norm_eps: 1e-5, hidden_act: Activation::Relu2, tie_word_embeddings: true, initializer_range: 0.02,
        attention: Attention::GroupedQuery, sub_norms: true, bit_linear: BitLinearConfig { weights: WeightQuantizer::TernaryAbsmean, activations: ActivationQuantizer::Int8Absmax, norm: NormPlacement::Outside } };
    bitnet::libtorch::keep_freed_memory();
    let vs = nn::VarStore::new(Device::Cpu);
    tch::manual_seed(1);
    let d = Decoder::new(&vs.root(), &model, precision);
    println!("params {} {}", model.num_parameters(), vs.trainable_variables().iter().map(|t| t.numel()).sum::<usize>());
    let params = vs.variables().into_iter().collect();
    let oc = OptimizerConfig { learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, decay_norms: false, decay_embeddings: false };
    let mut o = Adamw::new(&params, &oc);
    let ids = Tensor::randint(32, [rows, seq], (Kind::Int64, Device::Cpu));
    for i in 0..12 {
        let t = std::time::Instant::now();
        let l = (0..1).map(|_| Ok(next_token_loss(&d, &ids, &ids)));
        let out = take_step(&mut o, l, StepNumbers { learning_rate: 1e-3, weight_decay: 0.1, max_grad_norm: 1.0 }).unwrap();
        let s = t.elapsed().as_secs_f64();
        println!("{i} {:?} {:.3}s {:.0} tok/s", out, s, (rows * seq) as f64 / s);
    }
}
