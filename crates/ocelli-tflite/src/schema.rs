//! Numbers of the format: TensorFlow's `schema.fbs`, as far as it is used.

/// The bytes 4 to 8 of a file.
pub const IDENTIFIER: &[u8; 4] = b"TFL3";
/// Of the schema.
pub const VERSION: u32 = 3;

/// `BuiltinOperator`
pub mod code {
    pub const ADD: i32 = 0;
    pub const AVERAGE_POOL_2D: i32 = 1;
    pub const CONCATENATION: i32 = 2;
    pub const CONV_2D: i32 = 3;
    pub const DEPTHWISE_CONV_2D: i32 = 4;
    pub const FULLY_CONNECTED: i32 = 9;
    pub const LOGISTIC: i32 = 14;
    pub const MAX_POOL_2D: i32 = 17;
    pub const MUL: i32 = 18;
    pub const RELU: i32 = 19;
    pub const RELU6: i32 = 21;
    pub const RESHAPE: i32 = 22;
    pub const SOFTMAX: i32 = 25;
    pub const PAD: i32 = 34;
    pub const TRANSPOSE: i32 = 39;
    pub const MEAN: i32 = 40;
    pub const SUB: i32 = 41;
    pub const DIV: i32 = 42;
    pub const SPLIT: i32 = 49;
    pub const CAST: i32 = 53;
    pub const MAXIMUM: i32 = 55;
    pub const PADV2: i32 = 60;
    pub const SLICE: i32 = 65;
    pub const SUM: i32 = 74;
    pub const SQRT: i32 = 75;
    pub const RSQRT: i32 = 76;
    pub const REDUCE_MAX: i32 = 82;
    pub const SQUARED_DIFFERENCE: i32 = 99;
    pub const HARD_SWISH: i32 = 117;
    pub const BATCH_MATMUL: i32 = 126;
    pub const GELU: i32 = 150;
}

/// What the one byte of older files holds for operators that came later.
pub const PLACEHOLDER_FOR_GREATER_OP_CODES: i8 = 127;

/// `BuiltinOptions` of an operator; 0 where it has none.
pub fn options(operator: i32) -> u8 {
    match operator {
        code::CONV_2D => 1,
        code::DEPTHWISE_CONV_2D => 2,
        code::AVERAGE_POOL_2D | code::MAX_POOL_2D => 5,
        code::FULLY_CONNECTED => 8,
        code::SOFTMAX => 9,
        code::CONCATENATION => 10,
        code::ADD => 11,
        code::RESHAPE => 17,
        code::MUL => 21,
        code::PAD => 22,
        code::TRANSPOSE => 26,
        code::MEAN | code::SUM | code::REDUCE_MAX => 27,
        code::SUB => 28,
        code::DIV => 29,
        code::SPLIT => 35,
        code::CAST => 37,
        code::MAXIMUM => 39,
        code::PADV2 => 43,
        code::SLICE => 48,
        code::SQUARED_DIFFERENCE => 76,
        code::HARD_SWISH => 91,
        code::BATCH_MATMUL => 101,
        code::GELU => 116,
        _ => 0,
    }
}

/// `ActivationFunctionType`, which is fused into an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fused {
    None = 0,
    Relu = 1,
    Relu6 = 3,
}

/// `Padding`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    Same = 0,
    Valid = 1,
}

/// `TensorType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Float32 = 0,
    Int32 = 2,
    Uint8 = 3,
}

/// Fields of tables, by their places.
pub mod field {
    pub mod model {
        pub const VERSION: usize = 0;
        pub const OPERATOR_CODES: usize = 1;
        pub const SUBGRAPHS: usize = 2;
        pub const DESCRIPTION: usize = 3;
        pub const BUFFERS: usize = 4;
        pub const METADATA: usize = 6;
        pub const SIGNATURE_DEFS: usize = 7;
    }
    pub mod operator_code {
        pub const DEPRECATED_BUILTIN_CODE: usize = 0;
        pub const VERSION: usize = 2;
        pub const BUILTIN_CODE: usize = 3;
    }
    pub mod subgraph {
        pub const TENSORS: usize = 0;
        pub const INPUTS: usize = 1;
        pub const OUTPUTS: usize = 2;
        pub const OPERATORS: usize = 3;
        pub const NAME: usize = 4;
    }
    pub mod tensor {
        pub const SHAPE: usize = 0;
        pub const TYPE: usize = 1;
        pub const BUFFER: usize = 2;
        pub const NAME: usize = 3;
        pub const SHAPE_SIGNATURE: usize = 7;
    }
    pub mod operator {
        pub const OPCODE_INDEX: usize = 0;
        pub const INPUTS: usize = 1;
        pub const OUTPUTS: usize = 2;
        pub const BUILTIN_OPTIONS_TYPE: usize = 3;
        pub const BUILTIN_OPTIONS: usize = 4;
    }
    pub mod conv {
        pub const PADDING: usize = 0;
        pub const STRIDE_W: usize = 1;
        pub const STRIDE_H: usize = 2;
        pub const ACTIVATION: usize = 3;
        pub const DILATION_W: usize = 4;
        pub const DILATION_H: usize = 5;
    }
    pub mod depthwise {
        pub const PADDING: usize = 0;
        pub const STRIDE_W: usize = 1;
        pub const STRIDE_H: usize = 2;
        pub const DEPTH_MULTIPLIER: usize = 3;
        pub const ACTIVATION: usize = 4;
        pub const DILATION_W: usize = 5;
        pub const DILATION_H: usize = 6;
    }
    pub mod pool {
        pub const PADDING: usize = 0;
        pub const STRIDE_W: usize = 1;
        pub const STRIDE_H: usize = 2;
        pub const FILTER_WIDTH: usize = 3;
        pub const FILTER_HEIGHT: usize = 4;
    }
    pub mod fully_connected {
        pub const KEEP_NUM_DIMS: usize = 2;
    }
    pub mod cast {
        pub const FROM: usize = 0;
        pub const TO: usize = 1;
    }
    pub mod batch_matmul {
        pub const ADJ_Y: usize = 1;
    }
    /// Tables of one field.
    pub const ONLY: usize = 0;
}
