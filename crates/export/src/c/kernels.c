#include <string.h>

/* Kernels. Activations are bytes; the integer they stand for is byte - zero. Images are rows, columns, channels. */

static uint8_t arena[ARENA_BYTES];
static int8_t row[LONGEST_ROW];
static int32_t sums[CLASSES];

typedef struct {
    const uint8_t *weights;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    int bits, bias_shift;
    int kernel, stride, padding;
    int in_size, in_channels, in_zero;
    int out_size, out_channels, out_zero, low, high;
} Convolution;

typedef struct {
    const uint8_t *weights;
    const int32_t *bias;
    const int32_t *multipliers;
    const int8_t *shifts;
    int bits, bias_shift;
    const int32_t *steps;
    int features, in_zero;
} Classifier;

/* value * multiplier * 2^(shift - 31), rounded to nearest, ties away from zero. */
static int32_t rescale(int32_t value, int32_t multiplier, int shift)
{
    int64_t product = (int64_t)value * multiplier;
    uint64_t size = product < 0 ? (uint64_t)-product : (uint64_t)product;
    int drop = 31 - shift;
    size = (size + ((uint64_t)1 << (drop - 1))) >> drop;
    if (size > INT32_MAX)
        size = INT32_MAX;
    return product < 0 ? -(int32_t)size : (int32_t)size;
}

static uint8_t store(int32_t value, int zero, int low, int high)
{
    return (uint8_t)((value < low ? low : value > high ? high : value) + zero);
}

/* Unpacks `count` weights of output channel `channel` into `row`. */
static void unpack(const uint8_t *packed, int bits, int channel, int count)
{
    const uint8_t *source = packed + (size_t)channel * (((size_t)count * (size_t)bits + 7) / 8);
    uint32_t pending = 0;
    int held = 0, index;
    for (index = 0; index < count; index++) {
        if (held < bits) {
            pending |= (uint32_t)*source++ << held;
            held += 8;
        }
        int32_t value = (int32_t)(pending & ((1u << bits) - 1));
        row[index] = (int8_t)(value >= 1 << (bits - 1) ? value - (1 << bits) : value);
        pending >>= bits;
        held -= bits;
    }
}

static void finish(const Convolution *layer, int channel, int32_t sum, uint8_t *output)
{
    sum = sum * (1 << layer->bias_shift) + layer->bias[channel];
    sum = rescale(sum, layer->multipliers[channel], layer->shifts[channel]);
    *output = store(sum, layer->out_zero, layer->low, layer->high);
}

/* Sum over the kernel at an output pixel; `step` is 1 for all input channels, or channels apart for a single one. */
static int32_t window(const Convolution *layer, const uint8_t *input, int y, int x, int first, int count)
{
    const int8_t *weight = row;
    int32_t sum = 0;
    int down, right, channel;
    for (down = 0; down < layer->kernel; down++) {
        int line = y * layer->stride + down - layer->padding;
        for (right = 0; right < layer->kernel; right++, weight += count) {
            int column = x * layer->stride + right - layer->padding;
            const uint8_t *pixel;
            if (line < 0 || column < 0 || line >= layer->in_size || column >= layer->in_size)
                continue;
            pixel = input + (line * layer->in_size + column) * layer->in_channels + first;
            for (channel = 0; channel < count; channel++)
                sum += (pixel[channel] - layer->in_zero) * weight[channel];
        }
    }
    return sum;
}

static void slide(const Convolution *layer, const uint8_t *input, uint8_t *output, int depthwise)
{
    int count = depthwise ? 1 : layer->in_channels;
    int channel, y, x;
    for (channel = 0; channel < layer->out_channels; channel++) {
        unpack(layer->weights, layer->bits, channel, layer->kernel * layer->kernel * count);
        for (y = 0; y < layer->out_size; y++)
            for (x = 0; x < layer->out_size; x++) {
                int32_t sum = window(layer, input, y, x, depthwise ? channel : 0, count);
                finish(layer, channel, sum, output + (y * layer->out_size + x) * layer->out_channels + channel);
            }
    }
}

static void convolution(const Convolution *layer, const uint8_t *input, uint8_t *output)
{
    slide(layer, input, output, 0);
}

static void depthwise(const Convolution *layer, const uint8_t *input, uint8_t *output)
{
    slide(layer, input, output, 1);
}

static void requantize(const uint8_t *input, uint8_t *output, int count, int in_zero, int32_t multiplier, int shift,
                       int out_zero, int low, int high)
{
    int index;
    for (index = 0; index < count; index++)
        output[index] = store(rescale(input[index] - in_zero, multiplier, shift), out_zero, low, high);
}

/* Both sides are brought to a common scale with 20 bits of headroom. */
static void add(const uint8_t *left, const uint8_t *right, uint8_t *output, int count, int32_t left_multiplier,
                int left_shift, int32_t right_multiplier, int right_shift, int32_t multiplier, int shift, int zero,
                int low, int high)
{
    int index;
    for (index = 0; index < count; index++) {
        int32_t a = rescale((left[index] - 128) * (1 << 20), left_multiplier, left_shift);
        int32_t b = rescale((right[index] - 128) * (1 << 20), right_multiplier, right_shift);
        output[index] = store(rescale(a + b, multiplier, shift), zero, low, high);
    }
}

static void max_pool(const uint8_t *input, uint8_t *output, int in_size, int out_size, int channels, int kernel,
                     int stride, int padding)
{
    int channel, y, x, down, right;
    for (y = 0; y < out_size; y++)
        for (x = 0; x < out_size; x++)
            for (channel = 0; channel < channels; channel++) {
                uint8_t best = 0;
                for (down = 0; down < kernel; down++)
                    for (right = 0; right < kernel; right++) {
                        int line = y * stride + down - padding, column = x * stride + right - padding;
                        if (line >= 0 && column >= 0 && line < in_size && column < in_size) {
                            uint8_t value = input[(line * in_size + column) * channels + channel];
                            best = value > best ? value : best;
                        }
                    }
                output[(y * out_size + x) * channels + channel] = best;
            }
}

static void pool(const uint8_t *input, uint8_t *output, int pixels, int channels, int in_zero, int32_t multiplier,
                 int shift, int out_zero, int low, int high)
{
    int channel, pixel;
    for (channel = 0; channel < channels; channel++) {
        int32_t sum = 0;
        for (pixel = 0; pixel < pixels; pixel++)
            sum += input[pixel * channels + channel] - in_zero;
        output[channel] = store(rescale(sum, multiplier, shift), out_zero, low, high);
    }
}

/* The class with the largest real value; `steps` are the sums' steps in proportion. */
static int classify(const Classifier *layer, const uint8_t *input, int8_t *logits)
{
    int channel, feature, best = 0;
    memset(sums, 0, sizeof sums);
    for (channel = 0; channel < CLASSES; channel++) {
        int32_t value;
        unpack(layer->weights, layer->bits, channel, layer->features);
        for (feature = 0; feature < layer->features; feature++)
            sums[channel] += (input[feature] - layer->in_zero) * row[feature];
        sums[channel] = sums[channel] * (1 << layer->bias_shift) + layer->bias[channel];
        value = rescale(sums[channel], layer->multipliers[channel], layer->shifts[channel]);
        value = value < -128 ? -128 : value > 127 ? 127 : value;
        logits[channel] = (int8_t)value;
        if ((int64_t)sums[channel] * layer->steps[channel] > (int64_t)sums[best] * layer->steps[best])
            best = channel;
    }
    return best;
}
