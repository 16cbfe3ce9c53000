#!/bin/sh
# Tries every kernel and measures every model that fits, on a machine without cargo. README.txt says how.
# A step that fails or takes too long is noted in steps.tsv and does not stop the rest.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
smoke=${KIT_SMOKE:-0}
limit=${KIT_SECONDS:-540}
parts=${*:-trials models depths kernels}
for part in $parts; do
    case $part in
    trials | models | depths | kernels) ;;
    *)
        echo "unknown part $part: expected trials, models, depths or kernels" >&2
        exit 2
        ;;
    esac
done

report=$("$here/llama-cli" doctor --json 2>&1)
if [ $? -ne 0 ]; then
    echo "$report" >&2
    echo "no adapter works here: nothing is measured" >&2
    exit 6
fi
index=$(printf '%s' "$report" | sed -n 's/.*"chosen":\([0-9]*\).*/\1/p')
name=$(printf '%s' "$report" | sed -n "s/.*\"index\":${index:-0},\"name\":\"\([^\"]*\)\".*/\1/p")
adapter=$(printf '%s' "${name:-unknown}" | sed 's/ *(.*//' | tr 'A-Z' 'a-z' | tr -cs 'a-z0-9' '-' | sed 's/^-//;s/-$//')
software=$(printf '%s' "$report" | sed -n 's/.*"software_only":\([a-z]*\).*/\1/p')
out=${OUT:-"$here/results/$(date +%Y-%m-%d)-$adapter"}
mkdir -p "$out" || exit 7
printf '%s\n' "$report" >"$out/doctor.json"

# timeout is GNU's; where it is missing, steps take as long as they take.
if command -v timeout >/dev/null 2>&1; then
    bounded="timeout $limit"
else
    bounded=
fi

# step FILE COMMAND...: standard output to FILE, what else is said to steps.log, a line to steps.tsv.
step() {
    file=$1
    shift
    begin=$(date +%s)
    echo "== $file: $*" | sed "s#$here/##g" | tee -a "$out/steps.log" >&2
    $bounded "$@" >"$out/$file" 2>>"$out/steps.log"
    code=$?
    printf '%s\t%s\t%s\t%s\n' "$file" "$code" "$(($(date +%s) - begin))" "$*" | sed "s#$here/##g" >>"$out/steps.tsv"
    [ "$code" -eq 0 ] || echo "   ended with $code" >&2
}

# bench FILE FLAGS...
bench() {
    file=$1
    shift
    step "$file.json" "$here/llama-cli" bench -q --json "$@"
}

run_trials() {
    # That list is compared with a file of the source tree.
    if [ "$smoke" = 1 ]; then
        step trials.txt "$here/trials" fill
    else
        step trials.txt "$here/trials" --skip 'set ignored'
    fi
}

run_models() {
    if [ "$smoke" = 1 ]; then
        for dtype in f16 q8_0 q4_0; do
            bench "tiny-$dtype" --synthetic tiny --dtype "$dtype" --prompt 16 --gen 8 --reps 2 --profile
        done
    elif [ "$software" = true ]; then
        for dtype in f16 q8_0 q6_k q4_k q4_0; do
            bench "110m-$dtype" --synthetic 110m --dtype "$dtype" --reps 3 --profile
        done
        bench demo --reps 3
        for shape in 256,4,4,4,704,32000 512,8,8,8,1408,32000 1024,16,16,16,2816,32000; do
            bench "shape-${shape%%,*}-f16" --synthetic "$shape" --dtype f16 --prompt 128 --gen 32 --reps 3
        done
    else
        for dtype in f16 q8_0 q6_k q4_k q4_0; do
            bench "7b-$dtype" --synthetic 7b --dtype "$dtype" --profile
        done
        # What a speculation or a small batch costs, and a prompt of few tiles.
        for rows in 2 4 8 64; do
            bench "rows-$rows-7b-q4_0" --synthetic 7b --dtype q4_0 --prompt "$rows" --gen 0
        done
        bench 70b-q4_0 --synthetic 70b --dtype q4_0 --profile
        bench 13b-q4_0 --synthetic 13b --dtype q4_0
        bench 110m-f16 --synthetic 110m --dtype f16 --profile
        bench 110m-q4_0 --synthetic 110m --dtype q4_0
    fi
}

run_depths() {
    if [ "$smoke" = 1 ]; then
        bench depth-tiny-f16 --synthetic tiny --dtype f16 --prompt 16 --gen 8 --reps 2 --depth 0,32
    elif [ "$software" = true ]; then
        bench depth-110m-f16 --synthetic 110m --dtype f16 --prompt 0 --gen 32 --reps 3 --depth 0,500,1000,2000,3000,4000
    else
        bench depth-7b-f16 --synthetic 7b --dtype f16 --depth 0,500,1000,2000,3500
        bench depth-7b-q4_0 --synthetic 7b --dtype q4_0 --depth 0,500,1000,2000,3500
        bench long-7b-f16 --synthetic 7b --dtype f16 --prompt 4096 --gen 0 --reps 3
        bench depth-70b-q4_0 --synthetic 70b --dtype q4_0 --prompt 0 --gen 64 --reps 3 --depth 0,4000 -c 8192
    fi
}

run_kernels() {
    CRITERION_HOME=$(mktemp -d)
    export CRITERION_HOME
    if [ "$smoke" = 1 ]; then
        step kernels.txt "$here/kernels" --test swiglu
    else
        step kernels.txt "$here/kernels" --bench --noplot --warm-up-time 0.5 --measurement-time 1 --sample-size 10
    fi
    rm -rf "$CRITERION_HOME"
}

for part in $parts; do
    "run_$part"
done
# One file to carry home.
tar -cf "$out.tar" -C "$(dirname -- "$out")" "$(basename -- "$out")"
echo "results: $out and $out.tar" >&2
