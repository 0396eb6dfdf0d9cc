"""The operations that a SavedModel may be made of: they compute from what they are given.

None of them reads or writes a file, opens a connection, prints to where an attribute says, runs
Python, or takes a graph as data. TensorFlow registers some 1,950; these are what Keras, KerasHub
and tensorflow-text put into a graph that answers, and their nearest relatives.
"""

from __future__ import annotations

_ARITHMETIC = """
    Abs Acos Acosh Add AddN AddV2 Angle Asin Asinh Atan Atan2 Atanh BesselI0 BesselI0e BesselI1
    BesselI1e Betainc BitwiseAnd BitwiseOr BitwiseXor Ceil ClipByValue Complex ComplexAbs Conj Cos
    Cosh Cross Cumprod Cumsum CumulativeLogsumexp Digamma Div DivNoNan Erf Erfc Erfinv Exp Expm1
    Floor FloorDiv FloorMod Igamma Igammac Imag Inv Invert LeftShift Lgamma Log Log1p Maximum
    Minimum Mod Mul MulNoNan Ndtri Neg NextAfter Polygamma PopulationCount Pow Real RealDiv
    Reciprocal RightShift Rint Round Rsqrt Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh
    TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_COMPARISON = """
    ApproximateEqual Equal Greater GreaterEqual IsFinite IsInf IsNan Less LessEqual LogicalAnd
    LogicalNot LogicalOr NotEqual Select SelectV2
"""
_REDUCTION = """
    All Any ArgMax ArgMin Bincount DenseBincount EuclideanNorm L2Loss Max Mean Min Prod Sum
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum
"""
_ARRAYS = """
    Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize Cast Concat ConcatOffset
    ConcatV2 Const DepthToSpace Diag DiagPart DynamicPartition DynamicStitch Empty EnsureShape
    ExpandDims ExtractImagePatches Fill Gather GatherNd GatherV2 HistogramFixedWidth Identity
    IdentityN InvertPermutation LinSpace ListDiff LowerBound MatrixBandPart MatrixDiag
    MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
    MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch
    PlaceholderWithDefault Placeholder PreventGradient Range Rank Reshape Reverse ReverseSequence
    ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd Shape ShapeN Size Slice Snapshot
    SpaceToBatchND BatchToSpaceND SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    TensorStridedSliceUpdate Tile TopK TopKV2 Transpose Unique UniqueV2 UniqueWithCounts
    UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""
_ALGEBRA = """
    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Einsum MatMul MatrixDeterminant MatrixInverse
    MatrixSolve MatrixTriangularSolve Qr SelfAdjointEigV2 Svd
    FFT FFT2D IFFT IFFT2D IRFFT IRFFT2D RFFT RFFT2D
"""
_NETWORKS = """
    AvgPool AvgPool3D BiasAdd Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D
    Conv3DBackpropInputV2 DepthwiseConv2dNative Dilation2D Elu FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 InTopKV2 LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Relu Relu6 Selu Sigmoid Softmax SoftmaxCrossEntropyWithLogits Softplus
    Softsign SparseSoftmaxCrossEntropyWithLogits QuantizeV2 Dequantize QuantizeAndDequantizeV4
"""
_PICTURES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeBmp DecodeGif DecodeImage
    DecodeJpeg DecodePng DecodeWebP ExtractJpegShape HSVToRGB ImageProjectiveTransformV2
    ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate
"""
_SOUNDS = "AudioSpectrogram DecodeWav Mfcc"
_TEXTS = """
    AsString CaseFoldUTF8 DecodeBase64 DecodePaddedRaw DecodeRaw EncodeBase64
    FastWordpieceTokenizeWithOffsets NormalizeUTF8 NormalizeUTF8WithOffsetsMap ReduceJoin
    RegexFullMatch RegexReplace RegexSplitWithOffsets SentencepieceDetokenizeOp
    SentencepieceIdToStringOp SentencepieceOp SentencepieceStringToIdOp SentencepieceTokenizeOp
    SentencepieceTokenizeWithOffsetsOp SentencepieceVocabSizeOp StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
    StringSplitV2 StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber
    StringUpper Substr TFText>ByteSplitWithOffsets TFText>FastSentencepieceTokenize
    TFText>WhitespaceTokenizeWithOffsetsV2 UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
    UnicodeScript UnicodeTranscode UnsortedSegmentJoin WhitespaceTokenizeWithOffsets
    WordpieceTokenizeWithOffsets
"""
_RAGGED = """
    RaggedBincount RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant SparseFillEmptyRows
    SparseReorder SparseReshape SparseTensorDenseMatMul SparseToDense
"""
_LISTS = """
    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListResize TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem
    TensorListSplit TensorListStack TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
    TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3
    TensorArrayWriteV3
"""
# Of their functions, too, each is looked at.
_FLOW = """
    Assert Case ControlTrigger FakeParam For If NoOp PartitionedCall StatefulPartitionedCall
    StatelessCase StatelessIf StatelessWhile ToBool While
"""
# What is held in memory by name.
_STATE = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead
    HashTableV2 LookupTableExportV2 LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2
    LookupTableRemoveV2 LookupTableSizeV2 InitializeTableV2 MutableDenseHashTableV2
    MutableHashTableOfTensorsV2 MutableHashTableV2 AnonymousHashTable
    AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors
    ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""
# Of tensors that the graph has already.
_DATASETS = """
    BatchDatasetV2 ConcatenateDataset DatasetToSingleElement IgnoreErrorsDataset MapDataset
    ParallelMapDatasetV2 TensorDataset TensorSliceDataset
"""

ALLOWED = frozenset(
    " ".join(
        (
            _ARITHMETIC,
            _COMPARISON,
            _REDUCTION,
            _ARRAYS,
            _ALGEBRA,
            _NETWORKS,
            _PICTURES,
            _SOUNDS,
            _TEXTS,
            _RAGGED,
            _LISTS,
            _FLOW,
            _STATE,
            _DATASETS,
        )
    ).split()
)
# What TensorFlow's saver reads weights with when a model is loaded, and writes them with when it is
# saved; in its functions alone.
RESTORING = frozenset({"RestoreV2"})
SAVING = RESTORING | {"MergeV2Checkpoints", "SaveV2", "ShardedFilename"}
