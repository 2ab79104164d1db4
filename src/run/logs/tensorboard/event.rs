//! An event of TensorBoard as protocol buffer bytes: the few fields of `Event`, `Summary` and `TensorProto` that scalars and texts need,
//! numbered as in TensorBoard's event.proto, summary.proto and tensor.proto. When events are written is the business of `mod`.

/// The version that readers ask for: they then trust a session's start, not the order of steps.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;
/// `DataType.DT_STRING`.
const DT_STRING: u64 = 7;
/// `DataClass.DATA_CLASS_TENSOR`.
const DATA_CLASS_TENSOR: u64 = 2;
/// The plugin that shows texts.
const TEXT_PLUGIN: &[u8] = b"text";

/// A value under a tag: `train/loss`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub tag: String,
    pub content: Content,
}

/// What a tag can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar(f64),
    /// Markdown.
    Text(String),
}

/// The first event of every file.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    let mut event = of_time(wall_time);
    event.bytes(3, FILE_VERSION.as_bytes()); // Event.file_version
    event.0
}

/// Says that all that a reader has seen of `step` and later steps is void, and comes anew.
pub(super) fn session_start(wall_time: f64, step: u64) -> Vec<u8> {
    let mut session = Message::default();
    session.number(1, START); // SessionLog.status
    let mut event = of_time(wall_time);
    event.number(2, step); // Event.step
    event.bytes(7, &session.0); // Event.session_log
    event.0
}

/// The values that belong to one step.
pub(super) fn summary(wall_time: f64, step: u64, values: &[Value]) -> Vec<u8> {
    let mut summary = Message::default();
    values.iter().for_each(|value| summary.bytes(1, &encoded(value))); // Summary.value
    let mut event = of_time(wall_time);
    event.number(2, step); // Event.step
    event.bytes(5, &summary.0); // Event.summary
    event.0
}

fn of_time(wall_time: f64) -> Message {
    let mut event = Message::default();
    event.double(1, wall_time); // Event.wall_time
    event
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.bytes(1, value.tag.as_bytes()); // Value.tag
    match &value.content {
        Content::Scalar(number) => message.float(2, *number as f32), // Value.simple_value
        Content::Text(text) => {
            message.bytes(8, &text_tensor(text)); // Value.tensor
            message.bytes(9, &text_metadata()); // Value.metadata
        }
    }
    message.0
}

/// A tensor without dimensions that holds `text`.
fn text_tensor(text: &str) -> Vec<u8> {
    let mut tensor = Message::default();
    tensor.number(1, DT_STRING); // TensorProto.dtype
    tensor.bytes(2, &[]); // TensorProto.tensor_shape
    tensor.bytes(8, text.as_bytes()); // TensorProto.string_val
    tensor.0
}

fn text_metadata() -> Vec<u8> {
    let mut plugin = Message::default();
    plugin.bytes(1, TEXT_PLUGIN); // PluginData.plugin_name
    let mut metadata = Message::default();
    metadata.bytes(1, &plugin.0); // SummaryMetadata.plugin_data
    metadata.number(4, DATA_CLASS_TENSOR); // SummaryMetadata.data_class
    metadata.0
}

/// A protocol buffer message as it grows, field by field.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    /// Text, or a message in the message.
    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.5 as a double: sign 0, exponent 1023, the highest bit of the mantissa.
    const TIME: [u8; 9] = [0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f];

    #[test]
    fn a_file_begins_with_its_version() {
        assert_eq!(version(1.5), [&TIME[..], &[0x1a, 13], b"brain.Event:2"].concat());
    }

    #[test]
    fn a_session_starts_at_a_step_which_zero_is_too() {
        assert_eq!(session_start(1.5, 0), [&TIME[..], &[0x10, 0, 0x3a, 2, 0x08, 1]].concat());
    }

    #[test]
    fn scalars_of_a_step_are_one_event() {
        let value = |tag: &str, number| Value { tag: tag.into(), content: Content::Scalar(number) };
        // 300 is 0b10_0101100: 0xac 0x02. 0.5 and -2 as floats: 0x3f000000 and 0xc0000000.
        let first = [0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f];
        let second = [0x0a, 2, b'b', b'c', 0x15, 0, 0, 0, 0xc0];
        let expected = [&TIME[..], &[0x10, 0xac, 0x02, 0x2a, 21, 0x0a, 8], &first, &[0x0a, 9], &second].concat();
        assert_eq!(summary(1.5, 300, &[value("a", 0.5), value("bc", -2.0)]), expected);
    }

    #[test]
    fn a_text_is_a_tensor_of_the_text_plugin() {
        let value = Value { tag: "t".into(), content: Content::Text("hi".into()) };
        let tensor = [0x42, 8, 0x08, 7, 0x12, 0, 0x42, 2, b'h', b'i'];
        let metadata = [0x4a, 10, 0x0a, 6, 0x0a, 4, b't', b'e', b'x', b't', 0x20, 2];
        let expected = [&TIME[..], &[0x10, 1, 0x2a, 27, 0x0a, 25, 0x0a, 1, b't'], &tensor, &metadata].concat();
        assert_eq!(summary(1.5, 1, &[value]), expected);
    }
}
