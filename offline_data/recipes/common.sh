# Read by the recipes: `run COMMAND...` prints a command and runs it, unless the recipe was started with --dry-run.
# A recipe is started as `sh offline_data/recipes/FAMILY.sh SET [--dry-run]`; SETS names the family's sets, FOLDER
# where they lie, and ALSO what else the recipe makes.

chosen=${1:-}
dry_run=${2:-}
task=${chosen%/*} # of a set that is named TASK/LEVEL
level=${chosen#*/}
cd "$(dirname "$0")/../.."

run() {
    echo "$*"
    if [ -z "$dry_run" ]; then "$@"; fi
}

# Episodes of uniformly random actions as the chosen set: random_play ENVIRONMENT EPISODES [KEY=VALUE...]
random_play() {
    environment=$1
    episodes=$2
    shift 2
    run python src/main.py --config=random "--env-config=$environment" with collect=True "$@" \
        "collect_episodes=$episodes" "collect_to=$FOLDER/$chosen" seed=0
}

unknown() {
    echo "usage: sh $0 SET [--dry-run]; SET is one of: $SETS${ALSO:+ $ALSO}" >&2
    exit 1
}

if [ -n "$dry_run" ] && [ "$dry_run" != "--dry-run" ]; then unknown; fi
