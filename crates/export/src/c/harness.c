/* Runs a package over a file of images: int8 logits and an int32 class each into a second file, nanoseconds out. */
#include <stdio.h>
#include <time.h>

#include "network.h"

int main(int count, char **arguments)
{
    static uint8_t image[NETWORK_IMAGE_BYTES];
    int8_t logits[NETWORK_CLASSES];
    FILE *images, *answers;
    if (count != 3)
        return 2;
    images = fopen(arguments[1], "rb");
    answers = fopen(arguments[2], "wb");
    if (!images || !answers)
        return 3;
    while (fread(image, 1, sizeof image, images) == sizeof image) {
        struct timespec start, end;
        int32_t class;
        clock_gettime(CLOCK_MONOTONIC, &start);
        class = predict(image, logits);
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%.0f\n", (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec));
        fwrite(logits, 1, sizeof logits, answers);
        fwrite(&class, sizeof class, 1, answers);
    }
    fclose(images);
    return fclose(answers) ? 4 : 0;
}
