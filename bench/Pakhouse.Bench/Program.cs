using Pakhouse.Bench;

// For bench/run.sh: what the server is measured on, and what it is measured against; and the status lists by themselves. Options are pairs:
// --name value.
var options = args.Skip(1).Chunk(2).ToDictionary(pair => pair[0], pair => pair.ElementAtOrDefault(1) ?? "", StringComparer.Ordinal);
switch (args.FirstOrDefault())
{
    case "seed":
        Seed.Run(options["--folder"], int.Parse(options["--keys"]), int.Parse(options.GetValueOrDefault("--sample", "100000")));
        return 0;
    case "floor":
        await Floor.RunAsync(
            options["--folder"],
            options["--listen"],
            options.GetValueOrDefault("--postgres"),
            options.GetValueOrDefault("--read") == "exchange"
        );
        return 0;
    case "status":
        await Status.RunAsync(options["--folder"], int.Parse(options["--keys"]));
        return 0;
    case "reads":
        Reads.Run(options["--folder"]);
        return 0;
    case "allocation":
        var requests = int.Parse(options.GetValueOrDefault("--requests", "50000"));
        await Allocation.RunAsync(options["--folder"], options.GetValueOrDefault("--postgres"), requests);
        return 0;
    default:
        Console.Error.WriteLine(
            """
            seed --folder F --keys N [--sample N]
            floor --folder F --listen URL [--postgres CONNECTION] [--read exchange]
            allocation --folder F [--postgres CONNECTION] [--requests N]
            reads --folder F
            status --folder F --keys N
            """
        );
        return 1;
}
